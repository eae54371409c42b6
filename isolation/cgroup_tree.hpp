#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sandboxd/core/result.hpp"

namespace sandboxd::isolation {

// One mounted cgroup hierarchy, and where the calling process stands in it. A value.
struct CgroupHierarchy {
    std::vector<std::string> controllers;  // co-mounted ones together; empty for cgroup2
    std::string mount_point;
    std::string mount_root;  // the folder of the hierarchy that is visible at the mount point; "/"
                             // outside containers
    std::string self;        // path of the calling process, from the hierarchy's top
    bool nsdelegate = false;
    bool operator==(const CgroupHierarchy&) const = default;

    [[nodiscard]] bool has(std::string_view controller) const noexcept;
    // The calling process's folder as a path of the file system.
    [[nodiscard]] std::string self_folder() const;
};

struct CgroupTree {
    std::vector<CgroupHierarchy> v1;  // those with controllers; named ones (systemd's) are left out
    std::optional<CgroupHierarchy> unified;  // cgroup2, wherever it is mounted
    bool operator==(const CgroupTree&) const = default;

    [[nodiscard]] const CgroupHierarchy* find(std::string_view controller) const noexcept;
};

// From the texts of /proc/self/cgroup and /proc/self/mountinfo. A hierarchy that is not mounted, or
// mounted so that the calling process's folder can't be reached, is left out. protocol_error for a
// text that is neither.
[[nodiscard]] Result<CgroupTree> parse_cgroup_tree(std::string_view self_cgroup,
                                                   std::string_view mountinfo);
[[nodiscard]] Result<CgroupTree> read_cgroup_tree();

}  // namespace sandboxd::isolation
