#include "tests/integration/fs/support.hpp"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/loop.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "fs/btrfs.hpp"
#include "fs/mount_table.hpp"
#include "sandboxd/core/sys.hpp"
#include "tests/unit/fs/result_printer.hpp"

namespace sandboxd::fs::test {

StateDir::StateDir() {
    std::string pattern = "/var/tmp/sandboxd_fs_test.XXXXXX";
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
}

StateDir::~StateDir() {
    const auto table = read_mount_table();
    if (table) {
        for (auto entry = table->rbegin(); entry != table->rend(); ++entry) {
            if (entry->point.starts_with(path_ + "/")) ::umount2(entry->point.c_str(), MNT_DETACH);
        }
    }
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

PoolConfig StateDir::config() const {
    PoolConfig config;
    config.state_dir = path_;
    config.image_bytes = kImageBytes;
    config.allow_tmpfs = false;
    return config;
}

std::unique_ptr<Pool> StateDir::open() const {
    auto pool = Pool::open(config());
    REQUIRE(pool);
    return *std::move(pool);
}

Overlay::Overlay(const StateDir& state, const std::string& volume, const std::string& name)
    : path_{state.path() + "/merged-" + name} {
    const std::string lower = state.path() + "/lower";
    REQUIRE(sys::ensure_dir(lower, 0755));
    REQUIRE(sys::ensure_dir(path_, 0755));
    const std::string options =
        "lowerdir=" + lower + ",upperdir=" + volume + "/u,workdir=" + volume + "/w,userxattr";
    REQUIRE(sys::mount("overlay", path_.c_str(), "overlay", 0, options.c_str()));
}

Overlay::~Overlay() {
    ::umount2(path_.c_str(), MNT_DETACH);
}

Written append(const std::string& file, std::uint64_t bytes, Sync sync) {
    const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (sync == Sync::yes ? O_SYNC : 0);
    const Fd fd{::open(file.c_str(), flags, 0644)};
    if (!fd.valid()) return {0, errno};
    std::array<char, 65536> block;
    block.fill('x');
    Written out;
    while (out.bytes < bytes) {
        const std::size_t size = std::min<std::uint64_t>(block.size(), bytes - out.bytes);
        const ssize_t n = ::write(fd.get(), block.data(), size);
        if (n < 0) return {out.bytes, errno};
        out.bytes += static_cast<std::uint64_t>(n);
    }
    return out;
}

std::string read_text(const std::string& path) {
    std::ifstream in{path};
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

void write_text(const std::string& path, std::string_view text) {
    std::ofstream out{path};
    out << text;
    REQUIRE(out.good());
}

std::vector<std::string> loops_of(const std::string& image) {
    std::vector<std::string> loops;
    for (const auto& entry : std::filesystem::directory_iterator{"/sys/block"}) {
        const std::string file = entry.path().string() + "/loop/backing_file";
        std::string backing = read_text(file);
        if (!backing.empty()) backing.pop_back();
        if (backing == image) loops.push_back(entry.path().filename().string());
    }
    return loops;
}

bool is_mounted(const std::string& point) {
    const auto table = read_mount_table();
    REQUIRE(table);
    return find_mount(*table, point) != nullptr;
}

std::size_t open_descriptors() {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) {
        (void)entry;
        ++count;
    }
    return count;
}

std::size_t qgroup_count(const std::string& pool) {
    const auto fd = sys::open(pool, O_RDONLY | O_DIRECTORY);
    REQUIRE(fd);
    const auto ids = btrfs::qgroups(fd->get());
    REQUIRE(ids);
    return ids->size();
}

bool settle(const std::string& pool, const std::function<bool()>& done) {
    const auto fd = sys::open(pool, O_RDONLY | O_DIRECTORY);
    REQUIRE(fd);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{30};
    while (!done()) {
        if (std::chrono::steady_clock::now() > end) return false;
        // Asks for a commit and wakes the cleaner, which reports its end to nobody: hence the poll.
        REQUIRE(::ioctl(fd->get(), BTRFS_IOC_SYNC, nullptr) == 0);
        ::poll(nullptr, 0, 20);
    }
    return true;
}

}  // namespace sandboxd::fs::test
