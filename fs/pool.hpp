#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sandboxd/core/result.hpp"

namespace sandboxd::fs {

struct PoolConfig {
    std::string state_dir;          // the pool is mounted at <state_dir>/pool
    std::uint64_t image_bytes = 0;  // size of <state_dir>/pool.btrfs, a sparse file; 0: 3/4 of what is free
    std::string device;             // a btrfs file system that is already mounted there instead of the image
    bool allow_tmpfs = true;        // fall back to tmpfs volumes (charged to memory) where btrfs is missing
    std::string program_path = "/usr/sbin:/usr/bin:/sbin:/bin";  // where mkfs.btrfs is looked for
};

enum class PoolKind { btrfs_simple_quota, btrfs_qgroup, tmpfs };
[[nodiscard]] std::string_view to_string(PoolKind kind) noexcept;

struct PoolStatus {
    PoolKind kind{};
    std::uint64_t total_bytes = 0;
    std::uint64_t free_bytes = 0;
};

// The disks of all sandboxes: one volume each, with a hard limit. A volume holds the folders "u" and "w" of an
// overlay, owned by 0. All calls are quick (sub-millisecond to 3 ms) except open, remove and close, which block.
class Pool {
public:
    // Creates or finds the image, attaches the loop device, mounts and enables quotas. Errors name the cure.
    [[nodiscard]] static Result<std::unique_ptr<Pool>> open(const PoolConfig& config);
    virtual ~Pool() = default;  // leaves the mount in place: sandboxes outlive the daemon

    [[nodiscard]] virtual PoolKind kind() const noexcept = 0;
    [[nodiscard]] virtual Result<PoolStatus> status() = 0;
    // Makes volume `name` ([a-z0-9]) limited to `bytes`, returns its path. disk_full when the pool is.
    [[nodiscard]] virtual Result<std::string> create(const std::string& name, std::uint64_t bytes) = 0;
    [[nodiscard]] virtual Result<void> set_limit(const std::string& name, std::uint64_t bytes) = 0;
    // What the volume holds now.
    [[nodiscard]] virtual Result<std::uint64_t> used_bytes(const std::string& name) = 0;
    // A writable copy-on-write copy, whatever the size: snapshot, fork.
    [[nodiscard]] virtual Result<std::string> snapshot(const std::string& from, const std::string& to, std::uint64_t bytes) = 0;
    [[nodiscard]] virtual Result<std::vector<std::string>> list() = 0;
    // Idempotent. May block for long on a full volume: janitor only.
    [[nodiscard]] virtual Result<void> remove(const std::string& name) = 0;
    // Unmounts and detaches the loop device; for an orderly stop with no sandbox left.
    [[nodiscard]] virtual Result<void> close() = 0;
};

}  // namespace sandboxd::fs
