#include <fcntl.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "fs/command.hpp"
#include "fs/loop_device.hpp"
#include "sandboxd/core/sys.hpp"
#include "tests/integration/fs/support.hpp"
#include "tests/unit/fs/result_printer.hpp"

using namespace sandboxd;
using namespace sandboxd::fs;
using namespace sandboxd::fs::test;

namespace {

std::vector<std::string> names_in(const std::string& folder) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator{folder})
        names.push_back(entry.path().filename().string());
    return names;
}

void make_with_text(Pool& pool, const std::string& name, std::string_view text) {
    const auto path = pool.create(name, 64 * kMiB);
    REQUIRE(path);
    write_text(*path + "/u/f", text);
}

// A complete image as mkfs leaves it.
void make_image(const std::string& path, const std::string& label) {
    std::ofstream{path}.flush();
    std::filesystem::resize_file(path, kImageBytes);
    const auto mkfs = find_program("mkfs.btrfs", PoolConfig{}.program_path);
    REQUIRE(mkfs);
    REQUIRE(run_command(*mkfs, {"-q", "-L", label, path}, std::chrono::seconds{60}));
}

}  // namespace

TEST_CASE("after a crash the next daemon finds the pool mounted and goes on with it") {
    const StateDir state;
    make_with_text(*state.open(), "v1", "kept");  // the object is gone without close()
    CHECK(is_mounted(state.path() + "/pool"));
    const auto pool = state.open();
    CHECK(loops_of(state.path() + "/pool.btrfs").size() == 1);
    CHECK(get(pool->list()) == std::vector<std::string>{"v1"});
    CHECK(read_text(state.path() + "/pool/v1/u/f") == "kept");
    CHECK(append(state.path() + "/pool/v1/u/g", 200 * kMiB).error == EDQUOT);
    CHECK(get(pool->used_bytes("v1")) > 60 * kMiB);
    CHECK(pool->set_limit("v1", 128 * kMiB));
}

TEST_CASE("closing leaves the image and nothing else, and it opens again") {
    const StateDir state;
    const std::size_t descriptors = open_descriptors();
    auto pool = state.open();
    make_with_text(*pool, "v1", "kept");
    REQUIRE(pool->close());
    pool.reset();
    CHECK_FALSE(is_mounted(state.path() + "/pool"));
    CHECK(loops_of(state.path() + "/pool.btrfs").empty());
    CHECK(names_in(state.path()) == std::vector<std::string>{"pool.btrfs"});
    CHECK(open_descriptors() == descriptors);

    pool = state.open();
    CHECK(get(pool->list()) == std::vector<std::string>{"v1"});
    CHECK(read_text(state.path() + "/pool/v1/u/f") == "kept");
    CHECK(append(state.path() + "/pool/v1/u/g", 200 * kMiB).error == EDQUOT);
    REQUIRE(pool->close());
}

TEST_CASE("a pool in use can't be closed, stays usable, and says so") {
    const StateDir state;
    const auto pool = state.open();
    make_with_text(*pool, "v1", "x");
    {
        const Fd busy{::open((state.path() + "/pool/v1/u/f").c_str(), O_RDONLY | O_CLOEXEC)};
        const auto closed = pool->close();
        REQUIRE_FALSE(closed);
        CHECK(closed.error().is(Errc::conflict));
        CHECK(pool->create("v2", 64 * kMiB));
    }
    CHECK(pool->close());
}

TEST_CASE("a file system that only jails still hold is mounted again, not a second time") {
    const StateDir state;
    auto pool = state.open();
    make_with_text(*pool, "v1", "kept");
    // What a jail has: a detached clone of its volume. The pool's own mount goes.
    const auto clone = sys::clone_tree(AT_FDCWD, (state.path() + "/pool/v1").c_str());
    REQUIRE(clone);
    REQUIRE(pool->close());
    pool.reset();
    REQUIRE(loops_of(state.path() + "/pool.btrfs").size() == 1);

    pool = state.open();
    CHECK(loops_of(state.path() + "/pool.btrfs").size() == 1);
    write_text(state.path() + "/pool/v1/u/f", "new");
    const auto seen = sys::read_file_at(clone->get(), "u/f");
    REQUIRE(seen);
    CHECK(*seen == "new");
}

TEST_CASE("what an interrupted mkfs left is made anew") {
    const StateDir state;
    const std::string unfinished = state.path() + "/pool.btrfs.new";
    std::ofstream{unfinished} << std::string(200'000, 'x');
    const auto pool = state.open();
    CHECK(pool->create("v1", 64 * kMiB));
    CHECK_FALSE(sys::exists(unfinished));
}

TEST_CASE("a complete image without quotas gets them") {
    const StateDir state;
    const std::string image = state.path() + "/pool.btrfs";
    make_image(image, "sandboxd-pool-1");
    const auto pool = state.open();
    const auto path = pool->create("v1", 16 * kMiB);
    REQUIRE(path);
    CHECK(append(*path + "/u/f", 32 * kMiB).error == EDQUOT);
}

TEST_CASE("ordinary qgroups, as kernels before 6.7 have them, hold the limits too") {
    const StateDir state;
    const std::string image = state.path() + "/pool.btrfs";
    make_image(image, "sandboxd-pool-1");
    {
        const auto fd = sys::open(image, O_RDWR);
        REQUIRE(fd);
        const LoopDevice loop = get(attach_loop(fd->get(), image));
        const std::string point = state.path() + "/prepared";
        REQUIRE(sys::ensure_dir(point, 0700));
        REQUIRE(sys::mount(loop.path.c_str(), point.c_str(), "btrfs", 0));
        const auto root = sys::open(point, O_RDONLY | O_DIRECTORY);
        REQUIRE(root);
        btrfs_ioctl_quota_ctl_args args{};
        args.cmd = BTRFS_QUOTA_CTL_ENABLE;
        REQUIRE(::ioctl(root->get(), BTRFS_IOC_QUOTA_CTL, &args) == 0);
        REQUIRE(sys::umount(point.c_str(), MNT_DETACH));
    }
    const auto pool = state.open();
    CHECK(pool->kind() == PoolKind::btrfs_qgroup);
    const std::string point = state.path() + "/pool";
    const std::size_t groups = qgroup_count(point);
    const auto path = pool->create("v1", 32 * kMiB);
    REQUIRE(path);
    const Written written = append(*path + "/u/f", 64 * kMiB);
    CHECK(written.error == EDQUOT);
    CHECK(written.bytes > 31 * kMiB);
    CHECK(get(pool->used_bytes("v1")) >= written.bytes);
    const auto copy = pool->snapshot("v1", "v2", 48 * kMiB);
    REQUIRE(copy);
    const Written more = append(*copy + "/u/g", 64 * kMiB);
    CHECK(more.error == EDQUOT);
    CHECK(more.bytes > 15 * kMiB);
    CHECK(more.bytes < 17 * kMiB);
    // A fork of a full volume with the same limit is full as well, but it is one.
    const auto full = pool->snapshot("v1", "v3", 32 * kMiB);
    REQUIRE(full);
    CHECK(append(*full + "/u/g", 64 * kMiB).bytes < kMiB);
    REQUIRE(pool->remove("v1"));
    REQUIRE(pool->remove("v2"));
    REQUIRE(pool->remove("v3"));
    CHECK(settle(point, [&] {
        const bool tried = pool->remove("v1").has_value();
        return tried && qgroup_count(point) == groups;
    }));
}

TEST_CASE("a file that is no image of ours is left alone and named") {
    const StateDir state;
    const std::string image = state.path() + "/pool.btrfs";
    SECTION("not btrfs") {
        write_text(image, "precious data");
        const auto pool = Pool::open(state.config());
        REQUIRE_FALSE(pool);
        CHECK(pool.error().is(Errc::conflict));
        CHECK(pool.error().message().find("move it away") != std::string::npos);
        CHECK(read_text(image) == "precious data");
    }
    SECTION("another version") {
        make_image(image, "sandboxd-pool-99");
        // Not even where tmpfs is allowed: its snapshots would be out of sight.
        PoolConfig config = state.config();
        config.allow_tmpfs = true;
        const auto pool = Pool::open(config);
        REQUIRE_FALSE(pool);
        CHECK(pool.error().is(Errc::conflict));
        CHECK(pool.error().message().find("another version") != std::string::npos);
    }
    CHECK(loops_of(image).empty());
    CHECK_FALSE(is_mounted(state.path() + "/pool"));
}

TEST_CASE("a foreign mount in the pool's place is not taken for the pool") {
    const StateDir state;
    REQUIRE(sys::ensure_dir(state.path() + "/pool", 0700));
    REQUIRE(sys::mount("foreign", (state.path() + "/pool").c_str(), "tmpfs", 0));
    const auto pool = Pool::open(state.config());
    REQUIRE_FALSE(pool);
    CHECK(pool.error().is(Errc::conflict));
    CHECK(pool.error().message().find("foreign") != std::string::npos);
}

TEST_CASE("a second daemon on the same state directory is refused") {
    const StateDir state;
    const auto pool = state.open();
    const auto second = Pool::open(state.config());
    REQUIRE_FALSE(second);
    CHECK(second.error().is(Errc::conflict));
    CHECK(second.error().message().find("another daemon") != std::string::npos);
    CHECK(pool->create("v1", 64 * kMiB));
}

TEST_CASE("two daemons with different state directories do not meet") {
    const StateDir one;
    const StateDir two;
    const auto first = one.open();
    const auto second = two.open();
    make_with_text(*first, "v1", "one");
    make_with_text(*second, "v1", "two");
    CHECK(read_text(one.path() + "/pool/v1/u/f") == "one");
    CHECK(read_text(two.path() + "/pool/v1/u/f") == "two");
    REQUIRE(first->close());
    CHECK(read_text(two.path() + "/pool/v1/u/f") == "two");
    CHECK(second->create("v2", 64 * kMiB));
}

TEST_CASE("a state directory that is reached through a link is the same one") {
    const StateDir state;
    const std::string alias = state.path() + "/alias";
    REQUIRE(sys::ensure_dir(state.path() + "/real", 0711));
    REQUIRE(::symlink("real", alias.c_str()) == 0);
    PoolConfig config = state.config();
    config.state_dir = alias;
    {
        const auto pool = Pool::open(config);
        REQUIRE(pool);
        CHECK(get((*pool)->create("v1", 64 * kMiB)) == state.path() + "/real/pool/v1");
    }
    config.state_dir = state.path() + "/real";
    const auto pool = Pool::open(config);
    REQUIRE(pool);
    CHECK(get((*pool)->list()) == std::vector<std::string>{"v1"});
}

TEST_CASE("a larger size in the configuration makes the pool grow, mounted or not") {
    const StateDir state;
    auto pool = state.open();
    make_with_text(*pool, "v1", "kept");
    SECTION("mounted") {}
    SECTION("not mounted") {
        REQUIRE(pool->close());
    }
    pool.reset();
    PoolConfig config = state.config();
    config.image_bytes = kImageBytes + 512 * kMiB;
    auto grown = Pool::open(config);
    REQUIRE(grown);
    CHECK(get((*grown)->status()).total_bytes == config.image_bytes);
    CHECK(read_text(state.path() + "/pool/v1/u/f") == "kept");
}

TEST_CASE("a folder of a mounted btrfs can be the pool") {
    const StateDir disk;
    const auto host = disk.open();  // stands for the administrator's btrfs
    const auto folder = host->create("data", 512 * kMiB);
    REQUIRE(folder);
    const StateDir state;
    PoolConfig config = state.config();
    config.device = *folder + "/u";
    {
        auto pool = Pool::open(config);
        REQUIRE(pool);
        const auto path = (*pool)->create("v1", 16 * kMiB);
        REQUIRE(path);
        CHECK(append(*path + "/u/f", 32 * kMiB).error == EDQUOT);
        CHECK(sys::exists(*folder + "/u/v1/u/f"));
    }
    auto pool = Pool::open(config);  // as after a crash
    REQUIRE(pool);
    CHECK(get((*pool)->list()) == std::vector<std::string>{"v1"});
    CHECK((*pool)->remove("v1"));
    REQUIRE((*pool)->close());
    CHECK(names_in(state.path()).empty());
}

TEST_CASE("a device that is no btrfs is refused") {
    const StateDir state;
    PoolConfig config = state.config();
    for (const char* device : {"/proc", "/dev/null", "/nowhere"}) {
        config.device = device;
        CHECK_FALSE(Pool::open(config));
    }
    CHECK_FALSE(is_mounted(state.path() + "/pool"));
}

TEST_CASE("a full disk below the image refuses volumes before the image itself fails", "[slow]") {
    const StateDir state;
    const std::string disk = state.path() + "/disk";
    REQUIRE(sys::ensure_dir(disk, 0711));
    REQUIRE(sys::mount("disk", disk.c_str(), "tmpfs", 0, "size=900m"));
    PoolConfig config = state.config();
    config.state_dir = disk;
    const auto pool = Pool::open(config);
    REQUIRE(pool);
    REQUIRE((*pool)->create("v1", 64 * kMiB));
    REQUIRE(append(disk + "/other", 700 * kMiB).error == 0);
    const auto refused = (*pool)->create("v2", 64 * kMiB);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().is(Errc::disk_full));
    CHECK(append(disk + "/pool/v1/u/f", 32 * kMiB, Sync::yes).error == 0);
    REQUIRE(::unlink((disk + "/other").c_str()) == 0);
    CHECK((*pool)->create("v2", 64 * kMiB));
    CHECK((*pool)->close());
}
