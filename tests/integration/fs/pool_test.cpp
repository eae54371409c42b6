#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "fs/kernel.hpp"
#include "sandboxd/core/sys.hpp"
#include "tests/integration/fs/support.hpp"
#include "tests/unit/fs/result_printer.hpp"

using namespace sandboxd;
using namespace sandboxd::fs;
using namespace sandboxd::fs::test;

namespace {

// What a limit is off by: the nodes of the volume's own tree count too.
constexpr std::uint64_t kSlack = kMiB;

std::string make(Pool& pool, const std::string& name, std::uint64_t bytes) {
    const auto path = pool.create(name, bytes);
    REQUIRE(path);
    return *path;
}

std::uint64_t used(Pool& pool, const std::string& name) {
    const auto bytes = pool.used_bytes(name);
    REQUIRE(bytes);
    return *bytes;
}

struct stat stat_of(const std::string& path) {
    struct stat st {};
    REQUIRE(::lstat(path.c_str(), &st) == 0);
    return st;
}

}  // namespace

TEST_CASE("a new pool is btrfs with quotas, closed to other users, nosuid and nodev") {
    const StateDir state;
    const auto pool = state.open();
    CHECK((pool->kind() == PoolKind::btrfs_simple_quota || pool->kind() == PoolKind::btrfs_qgroup));
    const std::string point = state.path() + "/pool";
    CHECK((stat_of(point).st_mode & 07777) == 0700);
    CHECK((stat_of(state.path() + "/pool.btrfs").st_mode & 07777) == 0600);
    constexpr long kNosuid = 2;  // ST_NOSUID and ST_NODEV of statfs(2)
    constexpr long kNodev = 4;
    struct statfs st {};
    REQUIRE(::statfs(point.c_str(), &st) == 0);
    CHECK((st.f_flags & (kNosuid | kNodev)) == (kNosuid | kNodev));
    const auto status = pool->status();
    REQUIRE(status);
    CHECK(status->total_bytes == kImageBytes);
    CHECK(status->free_bytes > kImageBytes / 2);
}

TEST_CASE("the image is sparse, and its loop device bypasses the page cache and frees itself") {
    const StateDir state;
    const auto pool = state.open();
    CHECK(static_cast<std::uint64_t>(stat_of(state.path() + "/pool.btrfs").st_blocks) * 512 <
          kImageBytes / 4);
    const auto loops = loops_of(state.path() + "/pool.btrfs");
    REQUIRE(loops.size() == 1);
    CHECK(read_text("/sys/block/" + loops.front() + "/loop/autoclear") == "1\n");
    CHECK(read_text("/sys/block/" + loops.front() + "/loop/dio") == "1\n");
}

TEST_CASE("a volume has the folders of an overlay, owned by 0 whatever the umask") {
    const StateDir state;
    const auto pool = state.open();
    const mode_t before = ::umask(0077);
    const std::string path = make(*pool, "v1", 64 * kMiB);
    ::umask(before);
    CHECK(path == state.path() + "/pool/v1");
    CHECK((stat_of(path).st_mode & 07777) == 0700);
    CHECK((stat_of(path + "/u").st_mode & 07777) == 0755);
    CHECK((stat_of(path + "/w").st_mode & 07777) == 0700);
    for (const char* folder : {"", "/u", "/w"}) {
        CHECK(stat_of(path + folder).st_uid == 0);
        CHECK(stat_of(path + folder).st_gid == 0);
    }
}

TEST_CASE("names that are no volume names and sizes that are too small are refused") {
    const StateDir state;
    const auto pool = state.open();
    make(*pool, "v1", 64 * kMiB);
    for (const char* name : {"", "..", "a/b", "A"}) {
        INFO(name);
        CHECK(pool->create(name, 64 * kMiB).error().is(Errc::invalid_argument));
        CHECK(pool->set_limit(name, 64 * kMiB).error().is(Errc::invalid_argument));
        CHECK(pool->used_bytes(name).error().is(Errc::invalid_argument));
        CHECK(pool->snapshot(name, "v2", 64 * kMiB).error().is(Errc::invalid_argument));
        CHECK(pool->snapshot("v1", name, 64 * kMiB).error().is(Errc::invalid_argument));
        CHECK(pool->remove(name).error().is(Errc::invalid_argument));
    }
    CHECK(pool->create("v2", 1000).error().is(Errc::invalid_argument));
    CHECK(pool->set_limit("v1", 1000).error().is(Errc::invalid_argument));
}

TEST_CASE("missing volumes are not found, existing ones are not made twice") {
    const StateDir state;
    const auto pool = state.open();
    make(*pool, "v1", 64 * kMiB);
    CHECK(pool->create("v1", 64 * kMiB).error().is(Errc::conflict));
    CHECK(pool->snapshot("v1", "v1", 64 * kMiB).error().is(Errc::conflict));
    CHECK(pool->snapshot("none", "v2", 64 * kMiB).error().is(Errc::not_found));
    CHECK(pool->set_limit("none", 64 * kMiB).error().is(Errc::not_found));
    CHECK(pool->used_bytes("none").error().is(Errc::not_found));
    CHECK(get(pool->list()) == std::vector<std::string>{"v1"});
}

TEST_CASE("writing ends at the limit, not before and not after") {
    const StateDir state;
    const auto pool = state.open();
    const std::string path = make(*pool, "v1", 64 * kMiB);
    const Written written = append(path + "/u/f", 200 * kMiB);
    CHECK(written.error == EDQUOT);
    CHECK(written.bytes <= 64 * kMiB);
    CHECK(written.bytes > 64 * kMiB - kSlack);
    CHECK(used(*pool, "v1") <= 64 * kMiB);
    CHECK(used(*pool, "v1") >= written.bytes);
}

TEST_CASE("writing ends at the limit through an overlay too") {
    const StateDir state;
    const auto pool = state.open();
    const Overlay overlay{state, make(*pool, "v1", 64 * kMiB), "v1"};
    const Written written = append(overlay.path() + "/f", 200 * kMiB);
    CHECK(written.error == EDQUOT);
    CHECK(written.bytes <= 64 * kMiB);
    CHECK(written.bytes > 64 * kMiB - kSlack);
    SECTION("and what is deleted can be written again") {
        REQUIRE(::unlink((overlay.path() + "/f").c_str()) == 0);
        CHECK(settle(state.path() + "/pool", [&] { return used(*pool, "v1") < kMiB; }));
        CHECK(append(overlay.path() + "/g", 32 * kMiB).error == 0);
    }
}

TEST_CASE("overwriting parts of a file costs no space", "[slow]") {
    const StateDir state;
    const auto pool = state.open();
    const std::string file = make(*pool, "v1", 64 * kMiB) + "/u/f";
    REQUIRE(append(file, 32 * kMiB, Sync::yes).error == 0);
    const std::uint64_t before = used(*pool, "v1");
    {
        const Fd fd{::open(file.c_str(), O_WRONLY | O_CLOEXEC)};
        REQUIRE(fd.valid());
        const std::string block(4096, 'y');
        for (off_t at = 0; at < static_cast<off_t>(32 * kMiB); at += 8192) {
            REQUIRE(::pwrite(fd.get(), block.data(), block.size(), at) == 4096);
        }
        REQUIRE(::fsync(fd.get()) == 0);
    }
    CHECK(used(*pool, "v1") < before + kMiB);
}

TEST_CASE("many small files are held to the limit as well", "[slow]") {
    const StateDir state;
    const auto pool = state.open();
    const std::string path = make(*pool, "v1", 8 * kMiB);
    int error = 0;
    int files = 0;
    while (error == 0 && files < 100'000)
        error = append(path + "/u/f" + std::to_string(++files), 1000).error;
    CHECK(error == EDQUOT);
    CHECK(files > 1000);
    CHECK(used(*pool, "v1") <= 8 * kMiB);
}

TEST_CASE("a limit can be raised and lowered while the volume is in use") {
    const StateDir state;
    const auto pool = state.open();
    const std::string path = make(*pool, "v1", 16 * kMiB);
    CHECK(append(path + "/u/f", 32 * kMiB).error == EDQUOT);
    REQUIRE(pool->set_limit("v1", 64 * kMiB));
    CHECK(append(path + "/u/g", 32 * kMiB).error == 0);
    REQUIRE(pool->set_limit("v1", 16 * kMiB));
    CHECK(append(path + "/u/h", kMiB).error == EDQUOT);
}

TEST_CASE("what a volume holds is known before the kernel commits it", "[slow]") {
    const StateDir state;
    const auto pool = state.open();
    const std::string path = make(*pool, "v1", 128 * kMiB);
    const std::uint64_t empty = used(*pool, "v1");
    CHECK(empty < kMiB);
    REQUIRE(append(path + "/u/f", 32 * kMiB).bytes == 32 * kMiB);
    CHECK(used(*pool, "v1") >= 32 * kMiB);
    CHECK(used(*pool, "v1") < 33 * kMiB);
    REQUIRE(append(path + "/u/g", 16 * kMiB, Sync::yes).bytes == 16 * kMiB);
    CHECK(used(*pool, "v1") >= 48 * kMiB);
    CHECK(used(*pool, "v1") < 49 * kMiB);
    REQUIRE(::unlink((path + "/u/f").c_str()) == 0);
    CHECK(settle(state.path() + "/pool", [&] { return used(*pool, "v1") < 17 * kMiB; }));
}

TEST_CASE("one volume's use is not another's") {
    const StateDir state;
    const auto pool = state.open();
    const std::string one = make(*pool, "v1", 64 * kMiB);
    make(*pool, "v2", 64 * kMiB);
    REQUIRE(append(one + "/u/f", 32 * kMiB).error == 0);
    CHECK(used(*pool, "v2") < kMiB);
}

TEST_CASE("a snapshot and its source change independently") {
    const StateDir state;
    const auto pool = state.open();
    const std::string one = make(*pool, "v1", 64 * kMiB);
    write_text(one + "/u/f", "first");
    write_text(one + "/w/half-done", "x");
    const auto two = pool->snapshot("v1", "v2", 32 * kMiB);
    REQUIRE(two);
    write_text(one + "/u/f", "source");
    CHECK(read_text(*two + "/u/f") == "first");
    write_text(*two + "/u/f", "copy");
    CHECK(read_text(one + "/u/f") == "source");
    CHECK(std::filesystem::is_empty(*two + "/w"));
    CHECK(read_text(one + "/w/half-done") == "x");
    CHECK(append(*two + "/u/g", 200 * kMiB).error == EDQUOT);
    CHECK(append(one + "/u/g", 40 * kMiB).error == 0);
    CHECK(get(pool->list()) == std::vector<std::string>{"v1", "v2"});
}

TEST_CASE("a snapshot outlives its source and can be mounted in an overlay of its own") {
    const StateDir state;
    const auto pool = state.open();
    const std::string one = make(*pool, "v1", 64 * kMiB);
    {
        const Overlay overlay{state, one, "v1"};
        write_text(overlay.path() + "/f", "kept");
        REQUIRE(pool->snapshot("v1", "v2", 64 * kMiB));
    }
    REQUIRE(pool->remove("v1"));
    const Overlay overlay{state, state.path() + "/pool/v2", "v2"};
    CHECK(read_text(overlay.path() + "/f") == "kept");
    write_text(overlay.path() + "/f", "changed");
    CHECK(read_text(overlay.path() + "/f") == "changed");
}

TEST_CASE("a copy of a volume whose overlay was volatile can be mounted, the volume itself can't") {
    const StateDir state;
    const auto pool = state.open();
    const std::string one = make(*pool, "v1", 64 * kMiB);
    const auto mount = [&](const std::string& volume, const std::string& more) {
        const std::string options = "lowerdir=" + state.path() + "/lower,upperdir=" + volume +
                                    "/u,workdir=" + volume + "/w,userxattr" + more;
        return sys::mount("overlay", (state.path() + "/merged").c_str(), "overlay", 0,
                          options.c_str());
    };
    REQUIRE(sys::ensure_dir(state.path() + "/lower", 0755));
    REQUIRE(sys::ensure_dir(state.path() + "/merged", 0755));
    REQUIRE(mount(one, ",volatile"));
    write_text(state.path() + "/merged/f", "kept");
    REQUIRE(sys::umount((state.path() + "/merged").c_str()));
    const auto two = pool->snapshot("v1", "v2", 64 * kMiB);
    REQUIRE(two);
    CHECK_FALSE(mount(one, ""));
    REQUIRE(mount(*two, ""));
    CHECK(read_text(state.path() + "/merged/f") == "kept");
    REQUIRE(sys::umount((state.path() + "/merged").c_str()));
}

TEST_CASE("removing a volume gives its space back to the pool and to the disk below") {
    const StateDir state;
    const auto pool = state.open();
    const std::string point = state.path() + "/pool";
    const std::string path = make(*pool, "v1", 400 * kMiB);
    REQUIRE(append(path + "/u/f", 256 * kMiB, Sync::yes).error == 0);
    const std::uint64_t full = get(pool->status()).free_bytes;
    const auto allocated = [&] {
        return static_cast<std::uint64_t>(stat_of(state.path() + "/pool.btrfs").st_blocks) * 512;
    };
    CHECK(allocated() > 250 * kMiB);
    REQUIRE(pool->remove("v1"));
    CHECK(get(pool->list()).empty());
    CHECK(pool->used_bytes("v1").error().is(Errc::not_found));
    CHECK(settle(point, [&] { return get(pool->status()).free_bytes > full + 200 * kMiB; }));
    CHECK(settle(point, [&] { return allocated() < 128 * kMiB; }));
}

TEST_CASE("removing twice, or what was never there, is fine") {
    const StateDir state;
    const auto pool = state.open();
    make(*pool, "v1", 64 * kMiB);
    CHECK(pool->remove("v1"));
    CHECK(pool->remove("v1"));
    CHECK(pool->remove("never"));
    CHECK(pool->create("v1", 64 * kMiB));
}

TEST_CASE("a volume can be removed while a dying jail still has it open and mounted") {
    const StateDir state;
    const auto pool = state.open();
    const std::string path = make(*pool, "v1", 64 * kMiB);
    const Overlay overlay{state, path, "v1"};
    const Fd fd{::open((overlay.path() + "/f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)};
    REQUIRE(fd.valid());
    CHECK(pool->remove("v1"));
    CHECK(get(pool->list()).empty());
}

TEST_CASE("no qgroup outlives its volume, not even one that a snapshot kept busy") {
    const StateDir state;
    const auto pool = state.open();
    const std::string point = state.path() + "/pool";
    const std::size_t before = qgroup_count(point);
    const std::string path = make(*pool, "v1", 64 * kMiB);
    REQUIRE(append(path + "/u/f", 8 * kMiB, Sync::yes).error == 0);
    REQUIRE(pool->snapshot("v1", "v2", 64 * kMiB));
    CHECK(qgroup_count(point) == before + 2);
    REQUIRE(pool->remove("v1"));
    REQUIRE(pool->remove("v2"));
    CHECK(settle(point, [&] {
        const bool tried = pool->remove("v1").has_value();  // each later call tries again
        return tried && qgroup_count(point) == before;
    }));
}

TEST_CASE("five hundred volumes come and go and leave nothing", "[slow]") {
    const StateDir state;
    const auto pool = state.open();
    const std::string point = state.path() + "/pool";
    const std::size_t groups = qgroup_count(point);
    const std::size_t descriptors = open_descriptors();
    const std::uint64_t free = get(pool->status()).free_bytes;
    for (int i = 0; i < 500; ++i) {
        const std::string name = "v" + std::to_string(i);
        const auto path = pool->create(name, 16 * kMiB);
        REQUIRE(path);
        if (i % 10 == 0) REQUIRE(append(*path + "/u/f", 64 * 1024).error == 0);
        REQUIRE(pool->remove(name));
    }
    CHECK(get(pool->list()).empty());
    CHECK(open_descriptors() == descriptors);
    // A chunk of metadata, a tenth of so small a pool, may stay allocated.
    CHECK(settle(point, [&] {
        const bool tried = pool->remove("v0").has_value();
        return tried && qgroup_count(point) == groups &&
               get(pool->status()).free_bytes + 128 * kMiB > free;
    }));
}

TEST_CASE("a pool that is nearly full refuses new volumes and says what is free") {
    const StateDir state;
    const auto pool = state.open();
    const std::string path = make(*pool, "v1", 2 * kImageBytes);
    // Limits may add up to more than there is: the pool itself is then what ends the writing.
    const Written written = append(path + "/u/f", 2 * kImageBytes);
    CHECK(written.error == ENOSPC);
    const auto refused = pool->create("v2", 64 * kMiB);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().is(Errc::disk_full));
    CHECK(pool->snapshot("v1", "v3", 64 * kMiB).error().is(Errc::disk_full));
    CHECK(get(pool->list()) == std::vector<std::string>{"v1"});
    REQUIRE(pool->remove("v1"));
    CHECK(
        settle(state.path() + "/pool", [&] { return pool->create("v2", 64 * kMiB).has_value(); }));
}
