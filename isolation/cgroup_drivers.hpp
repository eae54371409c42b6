#pragma once

#include <memory>
#include <string>
#include <vector>

#include "isolation/cgroup.hpp"

// The two drivers behind make_cgroup_driver(). They take the folders that it found, so that tests
// can choose them.
namespace sandboxd::isolation {

// One v1 hierarchy and the daemon's own folder in it; `root` exists.
struct V1Root {
    std::vector<std::string>
        controllers;  // of ours, those that live here: memory cpu cpuacct pids blkio devices
    std::string root;
};

struct HybridRoots {
    std::string unified;  // the daemon's own folder in the cgroup2 tree; exists
    std::vector<V1Root> v1;
    dev_t io_device = 0;
};
[[nodiscard]] std::unique_ptr<CgroupDriver> make_hybrid_driver(HybridRoots roots);

struct V2Root {
    std::string root;  // exists; `controllers` are enabled in its cgroup.subtree_control
    std::vector<std::string> controllers;  // of ours: memory cpu pids io
    dev_t io_device = 0;
};
[[nodiscard]] std::unique_ptr<CgroupDriver> make_v2_driver(V2Root root);

}  // namespace sandboxd::isolation
