#pragma once

#include <cstdint>
#include <string>

#include "fs/pool.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::fs {

inline constexpr std::uint64_t kMiB = 1ULL << 20U;
inline constexpr std::uint64_t kMinImageBytes = 256 * kMiB;
// Kept free on the disk below a sparse image: btrfs goes read-only for good, for every sandbox,
// when a write to its image fails.
inline constexpr std::uint64_t kHostReserveBytes = 256 * kMiB;

// How large to make a new image. 0 asks for 3/4 of `host_free`, whole MiB: full to the brim it
// still leaves the disk a quarter. invalid_argument for too small a wish, disk_full for too small a
// disk.
[[nodiscard]] Result<std::uint64_t> plan_image_bytes(std::uint64_t asked, std::uint64_t host_free);

// <state_dir>/pool.btrfs, complete and of this version. Holds the lock that keeps a second daemon
// away for as long as `fd` lives.
struct PoolImage {
    Fd fd;
    std::string path;
    bool fresh = false;  // made by this call, so nothing is in it
};

// Opens the image, or makes it under another name and renames it once it is complete, so what an
// interrupted start left is never taken for an image. Blocks for mkfs. An image that is smaller
// than config.image_bytes is made longer.
// incompatible: this host can't have one (no mkfs.btrfs); conflict: locked, or not an image of
// ours.
[[nodiscard]] Result<PoolImage> open_image(const PoolConfig& config, const std::string& state_dir);

// Mounts the image at `point` through its loop device, an existing one if its file system is alive.
[[nodiscard]] Result<void> mount_image(const PoolImage& image, const std::string& point);
// Mounts a block device or binds a folder of a mounted btrfs: PoolConfig::device.
[[nodiscard]] Result<void> mount_device(const std::string& device, const std::string& point);
// Brings the mounted file system to the size of its image.
[[nodiscard]] Result<void> fit_to_image(const PoolImage& image, const std::string& point);

}  // namespace sandboxd::fs
