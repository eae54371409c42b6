#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "fs/templates.hpp"
#include "sandboxd/core/sys.hpp"
#include "tests/integration/fs/support.hpp"
#include "tests/unit/fs/result_printer.hpp"

using namespace sandboxd;
using namespace sandboxd::fs;
using namespace sandboxd::fs::test;

namespace {

std::string open_skeleton(const StateDir& state) {
    auto store = TemplateStore::open(state.path());
    REQUIRE(store);
    const auto templates = (*store)->list();
    REQUIRE(templates.size() == 1);
    CHECK(templates.front().name == "host");
    REQUIRE(templates.front().layers.size() == 1);
    return templates.front().layers.front();
}

std::size_t skeletons(const StateDir& state) {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator{state.path() + "/templates"}) {
        if (entry.is_directory()) ++count;
    }
    return count;
}

// As if it was last current before the host was booted.
void age(const std::string& skeleton) {
    write_text(skeleton + ".boot", "00000000-0000-0000-0000-000000000000");
}

}  // namespace

TEST_CASE("the host template is a skeleton below the host's /usr") {
    const StateDir state;
    auto store = TemplateStore::open(state.path());
    REQUIRE(store);
    const auto plan = (*store)->plan("host", "/pool/v1");
    REQUIRE(plan);
    using isolation::FdRole;
    using isolation::MountSource;
    const std::string skeleton = (*store)->list().front().layers.front();
    CHECK(plan->sources == std::vector<MountSource>{{FdRole::upper_mount, "/pool/v1", "", false},
                                                    {FdRole::lower_mount, skeleton, "", true},
                                                    {FdRole::bind_mount, "/usr", "/usr", true}});
}

TEST_CASE("an unknown template is not found, and the error names those that are") {
    const StateDir state;
    auto store = TemplateStore::open(state.path());
    REQUIRE(store);
    const auto plan = (*store)->plan("python", "/pool/v1");
    REQUIRE_FALSE(plan);
    CHECK(plan.error().is(Errc::not_found));
    CHECK(plan.error().message().find("host") != std::string::npos);
}

TEST_CASE("nothing in the skeleton is a secret of this host") {
    const StateDir state;
    const std::string skeleton = open_skeleton(state);
    std::size_t files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator{skeleton}) {
        const std::string path = entry.path().string().substr(skeleton.size());
        INFO(path);
        struct stat st {};
        REQUIRE(::lstat(entry.path().c_str(), &st) == 0);
        CHECK((st.st_uid == 0 || st.st_uid == 1000));
        CHECK(st.st_uid == st.st_gid);
        CHECK((st.st_mode & (S_ISUID | S_ISGID)) == 0);
        for (const char* denied :
             {"shadow", "private", "machine-id", "ssh", "sudoers", ".key", "npmrc", "pip.conf",
              "gitconfig", "environment", "hostname", "fstab", "crypttab"}) {
            CHECK(path.find(denied) == std::string::npos);
        }
        if (!S_ISREG(st.st_mode)) continue;
        ++files;
        // Where the host has the same file, everybody may read it there.
        struct stat original {};
        if (::lstat(path.c_str(), &original) == 0 && S_ISREG(original.st_mode)) {
            CHECK((original.st_mode & S_IROTH) != 0);
        }
    }
    CHECK(files > 10);
}

TEST_CASE("programs of the host run in the skeleton") {
    const StateDir state;
    const std::string skeleton = open_skeleton(state);
    CHECK(read_text(skeleton + "/etc/ld.so.cache") == read_text("/etc/ld.so.cache"));
    CHECK(std::filesystem::read_symlink(skeleton + "/bin") == "usr/bin");
    CHECK(std::filesystem::exists(skeleton + "/etc/ssl/certs"));
    CHECK(std::filesystem::is_directory(skeleton + "/home/user"));
}

TEST_CASE("an intact skeleton is used again, not written again") {
    const StateDir state;
    const std::string first = open_skeleton(state);
    struct stat before {};
    REQUIRE(::stat(first.c_str(), &before) == 0);
    CHECK(open_skeleton(state) == first);
    struct stat after {};
    REQUIRE(::stat(first.c_str(), &after) == 0);
    CHECK(before.st_ino == after.st_ino);
    CHECK(skeletons(state) == 1);
}

TEST_CASE(
    "a skeleton that was changed is made anew and the old one kept for those who live on it") {
    const StateDir state;
    const std::string path = open_skeleton(state);
    write_text(path + "/etc/passwd", "root::0:0::/root:/bin/bash\n");
    CHECK(open_skeleton(state) == path);
    CHECK(read_text(path + "/etc/passwd").find("root:*:") == 0);
    CHECK(read_text(path + "-stale1/etc/passwd").find("root::") == 0);
    CHECK(skeletons(state) == 2);

    SECTION("until the host was booted anew") {
        age(path + "-stale1");
        CHECK(open_skeleton(state) == path);
        CHECK(skeletons(state) == 1);
        CHECK_FALSE(sys::exists(path + "-stale1.boot"));
    }
}

TEST_CASE("a skeleton of other host files stays for this boot and goes after it") {
    const StateDir state;
    const std::string current = open_skeleton(state);
    const std::string other = state.path() + "/templates/host-0123456789abcdef0123456789abcdef";
    REQUIRE(sys::ensure_dir(other, 0755));
    write_text(other + "/f", "x");
    write_text(other + ".boot", read_text(current + ".boot"));
    CHECK(open_skeleton(state) == current);
    CHECK(sys::exists(other + "/f"));
    age(other);
    CHECK(open_skeleton(state) == current);
    CHECK_FALSE(sys::exists(other));
    CHECK_FALSE(sys::exists(other + ".boot"));
}

TEST_CASE("an unfinished skeleton is no skeleton") {
    const StateDir state;
    const std::string path = open_skeleton(state);
    REQUIRE(sys::rename(path, path + ".new"));
    std::filesystem::remove(path + ".new/etc/passwd");
    CHECK(open_skeleton(state) == path);
    CHECK(sys::exists(path + "/etc/passwd"));
    CHECK(skeletons(state) == 1);
}
