#include "isolation/cgroup.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "isolation/cgroup_drivers.hpp"
#include "isolation/cgroup_tree.hpp"
#include "isolation/cgroup_unified.hpp"
#include "isolation/device_policy.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::isolation {

namespace {

constexpr std::array<std::string_view, 6> kV1Controllers{"memory", "cpu",   "cpuacct",
                                                         "pids",   "blkio", "devices"};
constexpr std::array<std::string_view, 4> kV2Controllers{"memory", "cpu", "pids", "io"};

bool holds(const std::vector<std::string>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

Error missing(std::string_view controller, std::string_view cure) {
    return Error{Errc::incompatible, "cgroup controller " + std::string{controller},
                 "not available: " + std::string{cure} +
                     ", or name it in unsafe_missing_controllers and do without its limit"}
        .fact("controller", std::string{controller});
}

Result<std::string> parent_folder(const CgroupHierarchy& hierarchy, const CgroupConfig& config) {
    if (config.parent.empty()) return hierarchy.self_folder();
    if (config.parent.find("..") != std::string::npos) {
        return Error{Errc::invalid_argument, "cgroup parent", config.parent};
    }
    const char* separator = config.parent.starts_with('/') ? "" : "/";
    return hierarchy.mount_point + separator + config.parent;
}

Result<std::string> ensure_root(const std::string& parent, const std::string& name) {
    std::string root = parent + "/" + name;
    auto made = sys::mkdirat(AT_FDCWD, root.c_str(), 0755);
    if (!made && !made.error().is_errno(EEXIST)) return std::move(made).error().with("cgroup root");
    return root;
}

// Before 5.11 a v1 memory group was flat unless told otherwise, and then the limit of work/ would
// not hold its leaves.
Result<void> make_hierarchical(const std::string& root) {
    SBX_TRY(const CgroupFolder folder, CgroupFolder::find(root));
    if (!folder.has("memory.use_hierarchy")) return {};
    SBX_TRY(const std::string now, folder.read("memory.use_hierarchy"));
    if (now == "1") return {};
    return folder.write("memory.use_hierarchy", "1");
}

// cgroup.kill is the only way to end a tree for certain: 5.14.
Result<void> check_kill(const std::string& root) {
    SBX_TRY(const CgroupFolder folder, CgroupFolder::find(root));
    for (const char* file : {"cgroup.kill", "cgroup.freeze"}) {
        if (!folder.has(file)) {
            return Error{Errc::incompatible, file,
                         "this kernel's cgroup2 has none: Linux 5.14 or newer is needed"};
        }
    }
    return {};
}

// The device policy is the same for all sandboxes, so it stands once, at the daemon's own folder.
Result<void> forbid_devices(const std::string& root, const CgroupConfig& config) {
    SBX_TRY(const Fd folder, sys::open(root, O_RDONLY | O_DIRECTORY));
    auto attached = attach_device_policy(folder.get(), allowed_devices());
    if (attached || holds(config.allow_missing, "devices")) return {};
    return missing("devices", attached.error().message());
}

Result<HybridRoots> hybrid_roots(const CgroupTree& tree, const CgroupConfig& config) {
    HybridRoots roots;
    roots.io_device = config.io_device;
    for (const std::string_view name : kV1Controllers) {
        // blkio is asked for when a sandbox has an io limit; cgroup2 can do what devices does.
        const bool optional =
            name == "blkio" || name == "devices" || holds(config.allow_missing, name);
        if (tree.find(name) == nullptr && !optional) {
            return missing(name,
                           "mount the cgroup v1 hierarchy with \"" + std::string{name} + "\"");
        }
    }
    SBX_TRY(const std::string unified_parent, parent_folder(*tree.unified, config));
    SBX_TRY(roots.unified, ensure_root(unified_parent, config.root_name));
    SBX_CHECK(check_kill(roots.unified));
    if (tree.find("devices") == nullptr) SBX_CHECK(forbid_devices(roots.unified, config));
    for (const CgroupHierarchy& hierarchy : tree.v1) {
        V1Root root;
        for (const std::string_view name : kV1Controllers) {
            if (hierarchy.has(name)) root.controllers.emplace_back(name);
        }
        if (root.controllers.empty()) continue;
        SBX_TRY(const std::string parent, parent_folder(hierarchy, config));
        SBX_TRY(root.root, ensure_root(parent, config.root_name));
        if (hierarchy.has("memory")) SBX_CHECK(make_hierarchical(root.root));
        roots.v1.push_back(std::move(root));
    }
    return roots;
}

Result<std::vector<std::string>> words(const CgroupFolder& folder, const char* file) {
    SBX_TRY(const std::string text, folder.read(file));
    std::vector<std::string> out;
    std::size_t at = 0;
    while (at < text.size()) {
        const std::size_t end = std::min(text.find(' ', at), text.size());
        if (end > at) out.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return out;
}

// Only adds: what others have enabled there stays.
Result<void> enable(const CgroupFolder& folder, const std::vector<std::string>& controllers) {
    SBX_TRY(const std::vector<std::string> now, words(folder, "cgroup.subtree_control"));
    for (const std::string& name : controllers) {
        if (holds(now, name)) continue;
        auto written = folder.write("cgroup.subtree_control", "+" + name);
        if (!written && written.error().is_errno(EBUSY)) {
            return Error{Errc::incompatible, "cgroup controller " + name,
                         folder.path() +
                             " holds processes, so it can't hand the controller down: set "
                             "cgroup_parent to a "
                             "delegated folder without processes of its own"};
        }
        if (!written) return written;
    }
    return {};
}

Result<V2Root> v2_root(const CgroupHierarchy& unified, const CgroupConfig& config) {
    V2Root root;
    root.io_device = config.io_device;
    std::string parent = unified.mount_point;
    if (!config.parent.empty()) {
        SBX_TRY(parent, parent_folder(unified, config));
    }
    SBX_TRY(const CgroupFolder folder, CgroupFolder::find(parent));
    SBX_TRY(const std::vector<std::string> offered, words(folder, "cgroup.controllers"));
    for (const std::string_view name : kV2Controllers) {
        if (holds(offered, name)) {
            root.controllers.emplace_back(name);
        } else if (name != "io" && !holds(config.allow_missing, name)) {
            return missing(name, "enable \"+" + std::string{name} +
                                     "\" in the cgroup.subtree_control above " + parent);
        }
    }
    SBX_CHECK(enable(folder, root.controllers));
    SBX_TRY(root.root, ensure_root(parent, config.root_name));
    SBX_CHECK(check_kill(root.root));
    SBX_CHECK(forbid_devices(root.root, config));
    SBX_TRY(const CgroupFolder own, CgroupFolder::find(root.root));
    SBX_CHECK(enable(own, root.controllers));
    return root;
}

}  // namespace

Result<std::unique_ptr<CgroupDriver>> make_cgroup_driver(const CgroupConfig& config) {
    SBX_CHECK(check_group_name(config.root_name));
    SBX_TRY(const CgroupTree tree, read_cgroup_tree());
    if (!tree.unified) {
        return Error{
            Errc::incompatible, "cgroup2",
            "not mounted: mount -t cgroup2 none /sys/fs/cgroup/unified (beside v1) or boot with "
            "systemd.unified_cgroup_hierarchy=1"};
    }
    // Memory says which world this is: a controller lives in v1 or in v2, never in both.
    if (tree.find("memory") != nullptr || tree.find("cpu") != nullptr) {
        SBX_TRY(HybridRoots roots, hybrid_roots(tree, config));
        return make_hybrid_driver(std::move(roots));
    }
    SBX_TRY(V2Root root, v2_root(*tree.unified, config));
    return make_v2_driver(std::move(root));
}

}  // namespace sandboxd::isolation
