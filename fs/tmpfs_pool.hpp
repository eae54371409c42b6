#pragma once

#include <memory>
#include <string>

#include "fs/pool.hpp"

namespace sandboxd::fs {

// Volumes as one tmpfs each below `point`, for hosts without btrfs: limited in bytes and inodes,
// charged to the memory of whoever writes, gone with the host's next boot. Adopts the mounts that
// are there. No snapshots (incompatible). For any thread.
[[nodiscard]] Result<std::unique_ptr<Pool>> open_tmpfs_pool(const std::string& point);

// Whether living tmpfs volumes stand below `point`: a mount over them would hide them.
[[nodiscard]] Result<bool> has_tmpfs_volumes(const std::string& point);

}  // namespace sandboxd::fs
