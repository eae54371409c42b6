#pragma once

#include <vector>

#include "isolation/mount_plan.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::isolation {

// What goes into a jail beside plain descriptors, detached.
struct JailMounts {
    std::vector<Fd> trees;  // one per source of the mount plan, in order
    Fd stage;               // both or neither: see FdRole
    Fd shm;
    Fd sudo_client;
};

// Detached clones of the plan's trees, id-mapped into `userns`, nosuid and nodev, in the plan's
// order. A read-only bind of a file system that knows no id-mapping is passed without (its files
// then belong to nobody in there); an upper or a lower of such a file system is incompatible, with
// the cure.
[[nodiscard]] Result<std::vector<Fd>> clone_mounts(const MountPlan& plan, int userns);

// The two tmpfs, made by the host's root so that their options name no id, and id-mapped into `userns`. Left empty where
// the kernel can't id-map a tmpfs.
[[nodiscard]] Result<void> add_tmpfs(JailMounts& mounts, int userns, std::uint64_t shm_bytes,
                                     std::uint32_t shm_inodes);
// One file, read-only, for everybody in the jail to execute; it belongs to nobody there.
[[nodiscard]] Result<Fd> clone_program(int file);

}  // namespace sandboxd::isolation
