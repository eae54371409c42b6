#pragma once

#include <memory>
#include <string>

#include "fs/pool.hpp"
#include "sandboxd/core/fd.hpp"

namespace sandboxd::fs {

struct MountedBtrfs {
    std::string point;
    std::string host_dir;  // the folder of the sparse image; empty where the pool is no image
    Fd image;              // keeps the image's lock; may be none
};

// Volumes as subvolumes of the btrfs mounted at `point`: enables quotas and adopts what is there.
// For any thread.
[[nodiscard]] Result<std::unique_ptr<Pool>> open_btrfs_pool(MountedBtrfs mounted);

}  // namespace sandboxd::fs
