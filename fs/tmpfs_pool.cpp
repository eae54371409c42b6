#include "fs/tmpfs_pool.hpp"

#include <fcntl.h>
#include <sys/mount.h>

#include <algorithm>
#include <cerrno>

#include "fs/kernel.hpp"
#include "fs/mount_table.hpp"
#include "fs/volume_layout.hpp"
#include "fs/volume_name.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::fs {

namespace {

// A tree of small files (node_modules) has some 8 KiB per file; an inode costs the kernel about 1
// KiB.
std::string size_options(std::uint64_t bytes) {
    constexpr std::uint64_t kBytesPerInode = 8192;
    constexpr std::uint64_t kMinInodes = 1024;
    const std::uint64_t inodes = std::max(bytes / kBytesPerInode, kMinInodes);
    return "mode=0700,size=" + std::to_string(bytes) + ",nr_inodes=" + std::to_string(inodes);
}

constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOATIME;

class TmpfsPool final : public Pool {
public:
    explicit TmpfsPool(std::string point) : point_{std::move(point)} {}

    Result<void> adopt();

    PoolKind kind() const noexcept override { return PoolKind::tmpfs; }
    Result<PoolStatus> status() override;
    Result<std::string> create(const std::string& name, std::uint64_t bytes) override;
    Result<void> set_limit(const std::string& name, std::uint64_t bytes) override;
    Result<std::uint64_t> used_bytes(const std::string& name) override;
    Result<std::string> snapshot(const std::string& from, const std::string& to,
                                 std::uint64_t bytes) override;
    Result<std::vector<std::string>> list() override;
    Result<void> remove(const std::string& name) override;
    Result<void> close() override;

private:
    std::string path_of(const std::string& name) const { return point_ + "/" + name; }
    Result<std::string> existing(const std::string& name);

    std::string point_;
};

Result<std::vector<std::string>> mounted_volumes(const std::string& point) {
    SBX_TRY(const std::vector<MountEntry> table, read_mount_table());
    std::vector<std::string> names;
    const std::string below = point + "/";
    for (const MountEntry& entry : table) {
        if (entry.type != "tmpfs" || !entry.point.starts_with(below)) continue;
        std::string name = entry.point.substr(below.size());
        if (check_volume_name(name)) names.push_back(std::move(name));
    }
    std::sort(names.begin(), names.end());
    return names;
}

// Folders whose mount is gone: the host was booted anew.
Result<void> TmpfsPool::adopt() {
    SBX_TRY(const std::vector<std::string> volumes, list());
    SBX_TRY(const std::vector<std::string> folders, kernel::list_dir(point_));
    for (const std::string& name : folders) {
        if (!check_volume_name(name)) continue;
        if (std::binary_search(volumes.begin(), volumes.end(), name)) continue;
        SBX_CHECK(sys::unlinkat(AT_FDCWD, path_of(name).c_str(), AT_REMOVEDIR));
    }
    return {};
}

Result<std::string> TmpfsPool::existing(const std::string& name) {
    SBX_CHECK(check_volume_name(name));
    const std::string path = path_of(name);
    const auto inside = sys::statat(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW);
    SBX_TRY(const struct stat outside, sys::statat(AT_FDCWD, point_.c_str()));
    // A volume is a mount point, so its device is not the one of the folder around it.
    if (inside && inside->st_dev != outside.st_dev) return path;
    if (inside || inside.error().is_errno(ENOENT)) return Error{Errc::not_found, "volume", name};
    return inside.error();
}

Result<PoolStatus> TmpfsPool::status() {
    SBX_TRY(const std::string text, sys::read_file("/proc/meminfo"));
    // "MemTotal:       24682424 kB"
    const auto bytes_of = [&](const std::string& key) -> std::uint64_t {
        const auto at = text.find(key);
        return at == std::string::npos
                   ? 0
                   : std::strtoull(text.c_str() + at + key.size(), nullptr, 10) * 1024;
    };
    return PoolStatus{PoolKind::tmpfs, bytes_of("MemTotal:"), bytes_of("MemAvailable:")};
}

Result<std::string> TmpfsPool::create(const std::string& name, std::uint64_t bytes) {
    SBX_CHECK(check_volume_name(name));
    SBX_CHECK(check_volume_bytes(bytes));
    const std::string path = path_of(name);
    auto made = sys::mkdirat(AT_FDCWD, path.c_str(), 0700);
    if (!made && made.error().is_errno(EEXIST)) {
        return Error{Errc::conflict, "create volume", name + " exists"};
    }
    if (!made) return std::move(made).error();
    auto ready = sys::mount("sandboxd", path.c_str(), "tmpfs", kFlags, size_options(bytes).c_str());
    if (ready) ready = lay_out_volume(path);
    if (ready) return path;
    (void)remove(name);  // the first failure is the one to tell
    return std::move(ready).error().with("creating volume " + name);
}

Result<void> TmpfsPool::set_limit(const std::string& name, std::uint64_t bytes) {
    SBX_CHECK(check_volume_bytes(bytes));
    SBX_TRY(const std::string path, existing(name));
    auto limited = sys::mount(nullptr, path.c_str(), nullptr, MS_REMOUNT | kFlags,
                              size_options(bytes).c_str());
    // tmpfs takes no limit below what it holds.
    if (!limited && limited.error().is_errno(EINVAL)) {
        return Error{Errc::conflict, "limit volume",
                     name + " already holds more than " + std::to_string(bytes) + " bytes"};
    }
    return limited;
}

Result<std::uint64_t> TmpfsPool::used_bytes(const std::string& name) {
    SBX_TRY(const std::string path, existing(name));
    SBX_TRY(const kernel::Space space, kernel::space(path));
    return space.used_bytes;
}

Result<std::string> TmpfsPool::snapshot(const std::string& from, const std::string& to,
                                        std::uint64_t) {
    SBX_CHECK(check_volume_name(to));
    SBX_TRY(const std::string path, existing(from));
    return Error{Errc::incompatible, "snapshot volume",
                 path +
                     ": this host's pool is tmpfs, which can't copy on write; install btrfs-progs "
                     "and restart"};
}

Result<std::vector<std::string>> TmpfsPool::list() {
    return mounted_volumes(point_);
}

Result<void> TmpfsPool::remove(const std::string& name) {
    SBX_CHECK(check_volume_name(name));
    const std::string path = path_of(name);
    const auto volume = existing(name);
    if (!volume && !volume.error().is(Errc::not_found)) return volume.error();
    // Detached, so that a jail that is still dying can't hold it up.
    if (volume) SBX_CHECK(sys::umount(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW));
    const auto removed = sys::unlinkat(AT_FDCWD, path.c_str(), AT_REMOVEDIR);
    if (!removed && !removed.error().is_errno(ENOENT)) return removed.error();
    return {};
}

Result<void> TmpfsPool::close() {
    SBX_TRY(const std::vector<std::string> volumes, list());
    for (const std::string& name : volumes) SBX_CHECK(remove(name));
    (void)sys::unlinkat(AT_FDCWD, point_.c_str(),
                        AT_REMOVEDIR);  // a folder that stays does no harm
    return {};
}

}  // namespace

Result<std::unique_ptr<Pool>> open_tmpfs_pool(const std::string& point) {
    auto pool = std::make_unique<TmpfsPool>(point);
    SBX_CHECK(pool->adopt());
    return std::unique_ptr<Pool>{std::move(pool)};
}

Result<bool> has_tmpfs_volumes(const std::string& point) {
    SBX_TRY(const std::vector<std::string> volumes, mounted_volumes(point));
    return !volumes.empty();
}

}  // namespace sandboxd::fs
