#include "isolation/cgroup_tree.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/isolation/result_printer.hpp"

namespace sandboxd::isolation::test {

namespace {

constexpr const char* kHybridSelf =
    "9:name=systemd:/\n8:pids:/\n4:memory:/services/one\n2:cpu,cpuacct:/\n0::/\n";
constexpr const char* kHybridMounts =
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 master:2 - cgroup cgroup "
    "rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n";

}  // namespace

TEST_CASE(
    "a hybrid machine: co-mounted controllers together, named hierarchies left out, cgroup2 beside "
    "them") {
    const CgroupTree tree = get(parse_cgroup_tree(kHybridSelf, kHybridMounts));
    REQUIRE(tree.v1.size() == 3);
    REQUIRE(tree.find("memory") != nullptr);
    CHECK(tree.find("memory")->self_folder() == "/sys/fs/cgroup/memory/services/one");
    CHECK(tree.find("cpu") == tree.find("cpuacct"));
    CHECK(tree.find("cpu")->self_folder() == "/sys/fs/cgroup/cpu,cpuacct");
    CHECK(tree.find("blkio") == nullptr);
    REQUIRE(tree.unified);
    CHECK(tree.unified->mount_point == "/sys/fs/cgroup/unified");
    CHECK(tree.unified->nsdelegate);
}

TEST_CASE("a pure v2 machine has no v1 hierarchy") {
    const CgroupTree tree = get(parse_cgroup_tree(
        "0::/system.slice/sandboxd.service\n",
        "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,memory_recursiveprot\n"));
    CHECK(tree.v1.empty());
    REQUIRE(tree.unified);
    CHECK(tree.unified->self_folder() == "/sys/fs/cgroup/system.slice/sandboxd.service");
    CHECK_FALSE(tree.unified->nsdelegate);
}

TEST_CASE("inside a container the mount shows only a part of the hierarchy") {
    const char* self = "4:memory:/docker/abc/inner\n5:pids:/docker/abcdef\n0::/\n";
    const char* mounts =
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "39 31 0:36 /docker/abc /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
    const CgroupTree tree = get(parse_cgroup_tree(self, mounts));
    REQUIRE(tree.find("memory") != nullptr);
    CHECK(tree.find("memory")->self_folder() == "/sys/fs/cgroup/memory/inner");
    CHECK(tree.find("pids") == nullptr);  // /docker/abcdef is not below /docker/abc
    CHECK_FALSE(tree.unified);            // not mounted
}

TEST_CASE("the first mount through which the process can be reached is taken") {
    const char* mounts =
        "35 31 0:32 /elsewhere /a rw - cgroup cgroup rw,memory\n"
        "36 31 0:32 / /with\\040space rw - cgroup cgroup rw,memory\n";
    const CgroupTree tree = get(parse_cgroup_tree("4:memory:/x\n", mounts));
    REQUIRE(tree.find("memory") != nullptr);
    CHECK(tree.find("memory")->self_folder() == "/with space/x");
}

TEST_CASE("a controller is not taken for another whose name begins alike") {
    const CgroupTree tree = get(parse_cgroup_tree(
        "4:cpu:/\n", "35 31 0:32 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"));
    CHECK(tree.v1.empty());
}

TEST_CASE("texts of another form are refused") {
    CHECK_FALSE(parse_cgroup_tree("memory", kHybridMounts));
    CHECK_FALSE(parse_cgroup_tree("4:memory", kHybridMounts));
    CHECK_FALSE(parse_cgroup_tree(kHybridSelf, "not a mount\n"));
    CHECK_FALSE(parse_cgroup_tree(kHybridSelf, "1 2 3 - cgroup\n"));
    CHECK(get(parse_cgroup_tree("", "")) == CgroupTree{});
}

}  // namespace sandboxd::isolation::test
