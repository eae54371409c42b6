#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fs/pool.hpp"
#include "sandboxd/core/result.hpp"

// The ioctls of btrfs that a pool needs. `fs` is any open folder of the file system, `parent` the
// folder that holds the subvolume. Names are checked by the caller.
namespace sandboxd::fs::btrfs {

inline constexpr std::uint64_t kMagic = 0x9123683e;          // statfs(2) f_type
inline constexpr std::size_t kSuperblockOffset = 64 * 1024;  // on the device
inline constexpr std::size_t kSuperblockBytes = 4096;

// The label in a superblock; nothing when the bytes are none.
[[nodiscard]] std::optional<std::string> superblock_label(std::span<const std::byte> superblock);

// Turns quotas on unless they are: simple ones (kernel 6.7) or else ordinary qgroups. Where an
// ordinary count is inconsistent, waits until it has been made anew.
[[nodiscard]] Result<PoolKind> enable_quota(int fs);

// As /sys/fs/btrfs has it.
[[nodiscard]] Result<std::string> uuid(int fs);

// The limit is part of the creation: there is no moment without one, not even across a crash.
[[nodiscard]] Result<void> create_subvolume(int parent, const std::string& name,
                                            std::uint64_t limit);
// Flushes what the source has dirty. A consistent copy needs a source that nobody writes: the
// caller's duty.
[[nodiscard]] Result<void> snapshot(int parent, int source, const std::string& name,
                                    std::uint64_t limit);
// Unlinks it; the kernel's cleaner frees the space later.
[[nodiscard]] Result<void> destroy_subvolume(int parent, const std::string& name);
// Of the subvolume that `folder` lies in.
[[nodiscard]] Result<std::uint64_t> subvolume_id(int folder);
[[nodiscard]] Result<bool> subvolume_exists(int fs, std::uint64_t id);

[[nodiscard]] Result<void> set_limit(int fs, std::uint64_t id, std::uint64_t bytes);
// The subvolume ids that have a qgroup.
[[nodiscard]] Result<std::vector<std::uint64_t>> qgroups(int fs);
// True when it is gone; false while extents or the subvolume still count in it.
[[nodiscard]] Result<bool> remove_qgroup(int fs, std::uint64_t id);

// What the limit of `id` is compared with: extents on disk plus data that is not yet written. From
// sysfs, where the count is the kernel's live one. `uuid` as above.
[[nodiscard]] Result<std::uint64_t> live_usage(const std::string& uuid, std::uint64_t id);
// The count of the last commit, for hosts without sysfs.
[[nodiscard]] Result<std::uint64_t> committed_usage(int fs, std::uint64_t id);

// Lets the file system fill its device.
[[nodiscard]] Result<void> grow_to_device(int fs);

}  // namespace sandboxd::fs::btrfs
