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
// The program (O_PATH) as a copy in a tmpfs that has no other file: nothing in a jail then tells where it is kept, or can
// reach its pages. Where a clone can't be made from a mount that is attached nowhere (before 6.15): the program itself.
struct HiddenProgram {
    Fd mount;  // for as long as clones are to be made: closing it dissolves the mount
    Fd file;   // O_PATH
};
[[nodiscard]] Result<HiddenProgram> hide_program(int program);
// One file, read-only, for everybody in the jail to execute; it belongs to nobody there.
[[nodiscard]] Result<Fd> clone_program(int file);

}  // namespace sandboxd::isolation
