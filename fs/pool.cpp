#include "fs/pool.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <optional>

#include "fs/btrfs_pool.hpp"
#include "fs/kernel.hpp"
#include "fs/loop_device.hpp"
#include "fs/mount_table.hpp"
#include "fs/pool_image.hpp"
#include "fs/tmpfs_pool.hpp"
#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::fs {

namespace {

// Takes back a mount of ours unless the pool on it came to be: what is left mounted would otherwise
// lie below the volumes of the fallback.
class FreshMount {
public:
    explicit FreshMount(std::string point) : point_{std::move(point)} {}
    FreshMount(const FreshMount&) = delete;
    FreshMount& operator=(const FreshMount&) = delete;
    ~FreshMount() {
        if (armed_) (void)sys::umount(point_.c_str(), MNT_DETACH);  // the first failure is told
    }
    [[nodiscard]] Result<std::unique_ptr<Pool>> open(MountedBtrfs mounted) {
        auto pool = open_btrfs_pool(std::move(mounted));
        armed_ = !pool.has_value();
        return pool;
    }

private:
    std::string point_;
    bool armed_ = true;
};

Error foreign_mount(const MountEntry& entry, const std::string& expected) {
    return Error{Errc::conflict, "open pool",
                 entry.point + " is the mount of " + entry.source + " (" + entry.type +
                     "), not of " + expected + "; unmount it or choose another state directory"};
}

// Whether what is mounted is the file system in our image: its device must be the image's loop
// device.
Result<void> check_image_mount(const MountEntry& entry, const PoolImage& image) {
    SBX_TRY(const struct stat st, sys::fstat(image.fd.get()));
    SBX_TRY(const auto loop, find_loop(st.st_dev, st.st_ino));
    if (entry.type == "btrfs" && loop && entry.source == loop->path) return {};
    return foreign_mount(entry, image.path);
}

Result<std::unique_ptr<Pool>> open_on_image(const PoolConfig& config, const std::string& state_dir,
                                            const std::string& point, const MountEntry* mounted) {
    SBX_TRY(PoolImage image, open_image(config, state_dir));
    if (mounted != nullptr) {
        SBX_CHECK(check_image_mount(*mounted, image));
        SBX_CHECK(fit_to_image(image, point));
        return open_btrfs_pool(MountedBtrfs{point, state_dir, std::move(image.fd)});
    }
    auto attached = mount_image(image, point);
    if (!attached) {
        // An empty image that this host can't use would stand in the way of the fallback for good.
        if (image.fresh) (void)sys::unlinkat(AT_FDCWD, image.path.c_str());
        return std::move(attached).error();
    }
    FreshMount fresh{point};
    SBX_CHECK(fit_to_image(image, point));
    return fresh.open(MountedBtrfs{point, state_dir, std::move(image.fd)});
}

Result<std::unique_ptr<Pool>> open_on_device(const std::string& device, const std::string& point,
                                             const MountEntry* mounted) {
    if (mounted == nullptr) {
        SBX_CHECK(mount_device(device, point));
        return FreshMount{point}.open(MountedBtrfs{point, {}, {}});
    }
    SBX_TRY(const struct stat wanted, sys::statat(AT_FDCWD, device.c_str()));
    SBX_TRY(const struct stat there, sys::statat(AT_FDCWD, point.c_str()));
    const bool same = S_ISBLK(wanted.st_mode)
                          ? mounted->source == device
                          : wanted.st_dev == there.st_dev && wanted.st_ino == there.st_ino;
    if (mounted->type != "btrfs" || !same) return foreign_mount(*mounted, device);
    return open_btrfs_pool(MountedBtrfs{point, {}, {}});
}

Result<std::unique_ptr<Pool>> open_btrfs(const PoolConfig& config, const std::string& state_dir,
                                         const std::string& point) {
    SBX_TRY(const std::vector<MountEntry> table, read_mount_table());
    const MountEntry* mounted = find_mount(table, point);
    if (config.device.empty()) return open_on_image(config, state_dir, point, mounted);
    return open_on_device(config.device, point, mounted);
}

}  // namespace

std::string_view to_string(PoolKind kind) noexcept {
    switch (kind) {
        case PoolKind::btrfs_simple_quota:
            return "btrfs_simple_quota";
        case PoolKind::btrfs_qgroup:
            return "btrfs_qgroup";
        case PoolKind::tmpfs:
            return "tmpfs";
    }
    return "unknown";
}

Result<std::unique_ptr<Pool>> Pool::open(const PoolConfig& config) {
    SBX_CHECK(sys::ensure_dir(config.state_dir, 0711));
    // The mount table knows no links and no relative paths.
    SBX_TRY(const std::string state_dir, kernel::real_path(config.state_dir));
    const std::string point = state_dir + "/pool";
    SBX_CHECK(sys::ensure_dir(point, 0700));

    SBX_TRY(const bool tmpfs_alive, has_tmpfs_volumes(point));
    if (tmpfs_alive && config.allow_tmpfs) {
        log::info("pool stays tmpfs while volumes of an earlier run are alive", {{"pool", point}});
        return open_tmpfs_pool(point);
    }
    if (tmpfs_alive) {
        return Error{Errc::conflict, "open pool",
                     "tmpfs volumes are alive below " + point + ", and pool.allow_tmpfs is off"};
    }
    // Memory takes the place of disks only where nothing is lost by it: not if there is a pool that
    // this host can't open today, nor if the administrator named one.
    const bool may_fall_back =
        config.allow_tmpfs && config.device.empty() && !sys::exists(state_dir + "/pool.btrfs");
    auto pool = open_btrfs(config, state_dir, point);
    // incompatible: the host lacks something. A full disk or a second daemon is no reason either.
    if (pool || !may_fall_back || !pool.error().is(Errc::incompatible)) return pool;
    log::warn(
        "no btrfs pool: disks of sandboxes are tmpfs, charged to their memory, without snapshots",
        {{"cause", pool.error()}});
    return open_tmpfs_pool(point);
}

}  // namespace sandboxd::fs
