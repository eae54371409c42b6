#pragma once

#include <vector>

#include "isolation/mount_plan.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::isolation {

// Detached clones of the plan's trees, id-mapped into `userns`, nosuid and nodev, in the plan's
// order. A read-only bind of a file system that knows no id-mapping is passed without (its files
// then belong to nobody in there); an upper or a lower of such a file system is incompatible, with
// the cure.
[[nodiscard]] Result<std::vector<Fd>> clone_mounts(const MountPlan& plan, int userns);

}  // namespace sandboxd::isolation
