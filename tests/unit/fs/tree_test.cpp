#include "fs/tree.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <functional>

#include "tests/unit/fs/result_printer.hpp"

using namespace sandboxd;
using namespace sandboxd::fs;

namespace {

// Owned by whoever runs the test, who may not be root.
Tree small_tree() {
    const uid_t me = ::getuid();
    return Tree{{"", {NodeKind::folder, 0755, me, {}}},
                {"etc", {NodeKind::folder, 0755, me, {}}},
                {"etc/empty", {NodeKind::file, 0600, me, {}}},
                {"etc/motd", {NodeKind::file, 0644, me, "hello\n"}},
                {"lib", {NodeKind::link, 0777, me, "usr/lib"}},
                {"tmp", {NodeKind::folder, 01777, me, {}}}};
}

class Folder {
public:
    Folder() {
        std::string pattern = "/tmp/fs_tree.XXXXXX";
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        path = pattern;
    }
    ~Folder() { std::filesystem::remove_all(path); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    std::string path;
};

}  // namespace

TEST_CASE("a written tree holds itself") {
    const Folder folder;
    const std::string path = folder.path + "/t";
    REQUIRE(write_tree(small_tree(), path));
    const auto holds = holds_tree(path, small_tree());
    REQUIRE(holds);
    CHECK(*holds);
}

TEST_CASE("a tree is not written over another") {
    const Folder folder;
    CHECK_FALSE(write_tree(small_tree(), folder.path));
}

TEST_CASE("any difference on disk is seen") {
    const std::vector<std::pair<const char*, std::function<void(const std::string&)>>> changes{
        {"content", [](const auto& p) { std::ofstream{p + "/etc/motd"} << "hellO\n"; }},
        {"longer content",
         [](const auto& p) {
             std::ofstream{p + "/etc/motd", std::ios::app} << "x";
         }},
        {"mode", [](const auto& p) { ::chmod((p + "/etc/motd").c_str(), 0666); }},
        {"mode of a folder", [](const auto& p) { ::chmod((p + "/tmp").c_str(), 0777); }},
        {"mode of the root", [](const auto& p) { ::chmod(p.c_str(), 0777); }},
        {"missing file", [](const auto& p) { ::unlink((p + "/etc/empty").c_str()); }},
        {"extra file", [](const auto& p) { std::ofstream{p + "/etc/more"} << ""; }},
        {"extra folder", [](const auto& p) { ::mkdir((p + "/etc/more").c_str(), 0755); }},
        {"other link",
         [](const auto& p) {
             ::unlink((p + "/lib").c_str());
             CHECK(::symlink("usr/lib2", (p + "/lib").c_str()) == 0);
         }},
        {"link for a file",
         [](const auto& p) {
             ::unlink((p + "/etc/motd").c_str());
             CHECK(::symlink("empty", (p + "/etc/motd").c_str()) == 0);
         }},
        {"FIFO for a file",
         [](const auto& p) {
             ::unlink((p + "/etc/motd").c_str());
             CHECK(::mkfifo((p + "/etc/motd").c_str(), 0644) == 0);
         }},
    };
    for (const auto& [what, change] : changes) {
        INFO(what);
        const Folder folder;
        const std::string path = folder.path + "/t";
        REQUIRE(write_tree(small_tree(), path));
        change(path);
        const auto holds = holds_tree(path, small_tree());
        REQUIRE(holds);
        CHECK_FALSE(*holds);
    }
}

TEST_CASE("equal trees have equal fingerprints, and each property counts") {
    const std::string base = fingerprint(small_tree());
    CHECK(base.size() == 32);
    CHECK(base == fingerprint(small_tree()));
    const std::vector<std::function<void(Tree&)>> changes{
        [](Tree& t) { t["etc/motd"].content = "other"; },
        [](Tree& t) { t["etc/motd"].mode = 0600; },
        [](Tree& t) { t["etc/motd"].owner += 1; },
        [](Tree& t) { t["etc/motd"].kind = NodeKind::link; },
        [](Tree& t) { t.erase("etc/empty"); },
        [](Tree& t) {
            t["etc/new"] = Node{NodeKind::folder, 0755, 0, {}};
        },
    };
    for (const auto& change : changes) {
        Tree tree = small_tree();
        change(tree);
        CHECK(fingerprint(tree) != base);
    }
}
