#include "fs/pool_image.hpp"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <chrono>

#include "fs/btrfs.hpp"
#include "fs/command.hpp"
#include "fs/kernel.hpp"
#include "fs/loop_device.hpp"
#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::fs {

namespace {

// In the image's label. A new number when a later version can't use what an earlier one made.
constexpr std::string_view kLabel = "sandboxd-pool-1";
constexpr std::chrono::seconds kMkfsLimit{120};

// nosuid, nodev: what a jail's root writes lands on disk as the host's uid 0, setuid bits included.
constexpr unsigned long kMountFlags = MS_NOSUID | MS_NODEV | MS_NOATIME;
// nodatacow: overwriting a file in place costs no new space, so a full volume can still be worked
// in and the count is what the files hold; it also keeps a tenant from making the kernel compress.
// commit: deletions are counted and freed after at most so many seconds. discard: freed space goes
// back to the disk below the sparse image.
constexpr const char* kMountOptions = "nodatacow,discard=async,commit=5";

Error not_ours(const std::string& path, const std::string& what) {
    return Error{Errc::conflict, "open pool image",
                 path + " " + what + "; move it away to start with an empty pool"};
}

Result<void> lock_image(const Fd& fd, const std::string& path) {
    SBX_TRY(const bool locked, kernel::try_lock(fd.get()));
    if (locked) return {};
    return Error{Errc::conflict, "open pool image",
                 path + " is in use by another daemon; give each its own state directory"};
}

Result<void> check_label(const Fd& fd, const std::string& path) {
    std::array<std::byte, btrfs::kSuperblockBytes> bytes{};
    SBX_TRY(const std::size_t got, kernel::pread(fd.get(), bytes, btrfs::kSuperblockOffset));
    const auto label = btrfs::superblock_label(std::span{bytes}.first(got));
    if (!label) return not_ours(path, "is not a btrfs image");
    if (*label == kLabel) return {};
    if (label->starts_with("sandboxd-pool-")) {
        return not_ours(path, "was made by another version (" + *label + ", this one needs " +
                                  std::string{kLabel} + ")");
    }
    return not_ours(path, "is not an image of sandboxd (its label is \"" + *label + "\")");
}

Result<void> make_file_system(const PoolConfig& config, const std::string& path) {
    auto mkfs = find_program("mkfs.btrfs", config.program_path);
    if (!mkfs) {
        return Error{Errc::incompatible, "make pool image",
                     mkfs.error().message() + "; install the package btrfs-progs"};
    }
    // Metadata once: a second copy in the same file would only double the writes.
    return run_command(*mkfs,
                       {"--quiet", "--force", "--label", std::string{kLabel}, "--metadata",
                        "single", "--data", "single", path},
                       kMkfsLimit);
}

Result<PoolImage> create_image(const PoolConfig& config, const std::string& state_dir,
                               const std::string& path) {
    SBX_TRY(const kernel::Space host, kernel::space(state_dir));
    SBX_TRY(const std::uint64_t bytes, plan_image_bytes(config.image_bytes, host.free_bytes));
    if (bytes > host.free_bytes) {
        log::warn("the pool image is larger than what is free on its disk",
                  {{"image_bytes", bytes}, {"free_bytes", host.free_bytes}});
    }
    const std::string unfinished = path + ".new";
    SBX_TRY(Fd fd, sys::open(unfinished, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
    SBX_CHECK(lock_image(fd, unfinished));
    if (sys::exists(path)) {
        return Error{Errc::conflict, "make pool image", "another daemon has just made " + path};
    }
    SBX_CHECK(kernel::ftruncate(fd.get(), 0));  // what an interrupted mkfs left
    SBX_CHECK(kernel::ftruncate(fd.get(), bytes));
    auto made = make_file_system(config, unfinished);
    if (!made) {
        (void)sys::unlinkat(AT_FDCWD, unfinished.c_str());  // the first failure is the one to tell
        return std::move(made).error().with("making " + path);
    }
    SBX_CHECK(check_label(fd, unfinished));
    SBX_CHECK(kernel::fsync(fd.get()));
    SBX_CHECK(sys::rename(unfinished, path));
    SBX_TRY(const Fd folder, sys::open(state_dir, O_RDONLY | O_DIRECTORY));
    SBX_CHECK(kernel::fsync(folder.get()));
    return PoolImage{std::move(fd), path, true};
}

Error mount_failure(Error&& cause, const std::string& what) {
    std::string cure = "; the kernel log says why. Move it away to start with an empty pool";
    Errc code = Errc::conflict;
    if (cause.is_errno(ENODEV)) {
        code = Errc::incompatible;
        cure =
            "; the kernel lacks btrfs: load it with `modprobe btrfs` or install a kernel that has "
            "it";
    } else if (cause.is_errno(EEXIST)) {
        cure =
            "; a copy of this file system is mounted elsewhere: give this one a new identity with "
            "`btrfstune -u`";
    } else if (cause.is_errno(EPERM)) {
        code = Errc::forbidden;
        cure = "; mounting needs root and CAP_SYS_ADMIN";
    }
    return Error{code, "mount pool", what + ": " + cause.message() + cure};
}

}  // namespace

Result<std::uint64_t> plan_image_bytes(std::uint64_t asked, std::uint64_t host_free) {
    if (asked != 0 && asked < kMinImageBytes) {
        return Error{Errc::invalid_argument, "pool.image_bytes",
                     std::to_string(asked) + " is less than the smallest pool, " +
                         std::to_string(kMinImageBytes)};
    }
    const std::uint64_t bytes =
        asked != 0 ? asked / kMiB * kMiB : host_free / kMiB * kMiB / 4 * 3 / kMiB * kMiB;
    if (bytes >= kMinImageBytes && host_free >= kMinImageBytes + kHostReserveBytes) return bytes;
    const std::uint64_t needed = kMinImageBytes + kHostReserveBytes;
    return Error{Errc::disk_full, "make pool image",
                 "a pool needs " + std::to_string(needed) + " bytes free on its disk, there are " +
                     std::to_string(host_free)}
        .fact("needed_bytes", static_cast<std::int64_t>(needed))
        .fact("free_bytes", static_cast<std::int64_t>(host_free));
}

Result<PoolImage> open_image(const PoolConfig& config, const std::string& state_dir) {
    const std::string path = state_dir + "/pool.btrfs";
    auto fd = sys::open(path, O_RDWR | O_NOFOLLOW);
    if (!fd && fd.error().is_errno(ENOENT)) return create_image(config, state_dir, path);
    if (!fd) return std::move(fd).error();
    SBX_CHECK(lock_image(*fd, path));
    SBX_CHECK(check_label(*fd, path));
    SBX_TRY(const struct stat st, sys::fstat(fd->get()));
    if (config.image_bytes > static_cast<std::uint64_t>(st.st_size)) {
        SBX_CHECK(kernel::ftruncate(fd->get(), config.image_bytes / kMiB * kMiB));
    }
    return PoolImage{*std::move(fd), path, false};
}

Result<void> mount_image(const PoolImage& image, const std::string& point) {
    constexpr int kAttempts = 8;
    SBX_TRY(const struct stat st, sys::fstat(image.fd.get()));
    for (int attempt = 1;; ++attempt) {
        SBX_TRY(auto loop, find_loop(st.st_dev, st.st_ino));
        if (!loop) {
            // A descriptor of its own: the device keeps the open file it is given, and the daemon's
            // lock, which belongs to one, must not live as long as the mount.
            SBX_TRY(const Fd backing, sys::open(image.path, O_RDWR | O_NOFOLLOW));
            SBX_TRY(loop, attach_loop(backing.get(), image.path));
        }
        auto mounted =
            sys::mount(loop->path.c_str(), point.c_str(), "btrfs", kMountFlags, kMountOptions);
        if (mounted) return {};
        // ENXIO: the device that we found was about to be freed, its last user has just gone.
        if (!mounted.error().is_errno(ENXIO) || attempt == kAttempts) {
            return mount_failure(std::move(mounted).error(), image.path);
        }
    }
}

Result<void> mount_device(const std::string& device, const std::string& point) {
    SBX_TRY(const struct stat st, sys::statat(AT_FDCWD, device.c_str()));
    if (S_ISBLK(st.st_mode)) {
        auto mounted =
            sys::mount(device.c_str(), point.c_str(), "btrfs", kMountFlags, kMountOptions);
        if (!mounted) return mount_failure(std::move(mounted).error(), device);
        return {};
    }
    SBX_TRY(const kernel::Space space, kernel::space(device));
    if (!S_ISDIR(st.st_mode) || space.magic != btrfs::kMagic) {
        return Error{Errc::invalid_argument, "pool.device",
                     device + " is neither a block device nor a folder of a mounted btrfs"};
    }
    SBX_CHECK(sys::mount(device.c_str(), point.c_str(), nullptr, MS_BIND));
    // A bind takes its flags only in a second call.
    auto restricted =
        sys::mount(nullptr, point.c_str(), nullptr, MS_REMOUNT | MS_BIND | kMountFlags);
    if (!restricted) (void)sys::umount(point.c_str(), MNT_DETACH);  // no pool without nosuid, nodev
    return restricted;
}

Result<void> fit_to_image(const PoolImage& image, const std::string& point) {
    SBX_TRY(const struct stat st, sys::fstat(image.fd.get()));
    SBX_TRY(const kernel::Space space, kernel::space(point));
    if (space.total_bytes / kMiB >= static_cast<std::uint64_t>(st.st_size) / kMiB) return {};
    SBX_TRY(auto loop, find_loop(st.st_dev, st.st_ino));
    if (!loop) return Error{Errc::internal, "grow pool", "no loop device has " + image.path};
    SBX_CHECK(kernel::ioctl(loop->fd.get(), LOOP_SET_CAPACITY, 0UL, "LOOP_SET_CAPACITY"));
    SBX_TRY(const Fd root, sys::open(point, O_RDONLY | O_DIRECTORY));
    auto grown = btrfs::grow_to_device(root.get());
    if (!grown) return std::move(grown).error().with("growing the pool");
    return {};
}

}  // namespace sandboxd::fs
