#include "fs/mount_table.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/fs/result_printer.hpp"

using namespace sandboxd;
using namespace sandboxd::fs;

namespace {

constexpr const char* kTable =
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
    "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 master:1 - tmpfs tmpfs rw,mode=755\n"
    "43 27 0:39 / /srv/state/pool rw,nosuid,nodev,noatime - btrfs /dev/loop0 "
    "rw,subvolid=5,subvol=/\n"
    "44 27 0:40 /a/b /srv/with\\040space rw - tmpfs some\\134thing rw\n"
    "45 27 0:41 / /srv/nameless rw - tmpfs  rw\n";

}  // namespace

TEST_CASE("a mount table is read with and without optional fields") {
    const auto table = parse_mount_table(kTable);
    REQUIRE(table);
    REQUIRE(table->size() == 5);
    CHECK((*table)[1] == MountEntry{"0:28", "/", "/sys/fs/cgroup", "tmpfs", "tmpfs"});
    CHECK((*table)[2] == MountEntry{"0:39", "/", "/srv/state/pool", "btrfs", "/dev/loop0"});
}

TEST_CASE("escapes in a mount table are decoded") {
    const auto table = parse_mount_table(kTable);
    REQUIRE(table);
    CHECK((*table)[3].point == "/srv/with space");
    CHECK((*table)[3].root == "/a/b");
    CHECK((*table)[3].source == "some\\thing");
}

TEST_CASE("a mount without a source does not shift the fields") {
    const auto table = parse_mount_table(kTable);
    REQUIRE(table);
    CHECK((*table)[4] == MountEntry{"0:41", "/", "/srv/nameless", "tmpfs", ""});
}

TEST_CASE("of two mounts on one point the upper one is found") {
    const auto table = parse_mount_table(
        "1 0 0:1 / /p rw - tmpfs lower rw\n"
        "2 1 0:2 / /p rw - btrfs /dev/loop7 rw\n"
        "3 1 0:3 / /pool rw - tmpfs other rw\n");
    REQUIRE(table);
    const MountEntry* found = find_mount(*table, "/p");
    REQUIRE(found != nullptr);
    CHECK(found->source == "/dev/loop7");
    CHECK(find_mount(*table, "/po") == nullptr);
}

TEST_CASE("a mount table that is not understood is an error, not an empty one") {
    for (const char* text : {"nonsense\n", "1 0 0:1 / /p rw\n", "1 0 0:1 / /p rw - tmpfs\n"}) {
        const auto table = parse_mount_table(text);
        REQUIRE_FALSE(table);
        CHECK(table.error().is(Errc::protocol_error));
    }
}

TEST_CASE("this process's own mount table has a root") {
    const auto table = read_mount_table();
    REQUIRE(table);
    CHECK(find_mount(*table, "/") != nullptr);
}
