#pragma once

#include <string>
#include <vector>

#include "isolation/launch_plan.hpp"

namespace sandboxd::isolation {

// A tree of the host that goes into a jail. Only paths that the daemon made or that the administrator named in the
// configuration stand here, never one that a tenant controls.
struct MountSource {
    FdRole role{};          // upper_mount, lower_mount or bind_mount
    std::string path;       // on the host
    std::string target;     // bind_mount: where in the jail, absolute
    bool read_only = true;  // the upper is the only writable one
    bool operator==(const MountSource&) const = default;
};

// In the order in which the init takes them: upper, lowers from the topmost down, binds.
struct MountPlan {
    std::vector<MountSource> sources;
    bool operator==(const MountPlan&) const = default;
};

}  // namespace sandboxd::isolation
