#pragma once

#include <array>
#include <memory>

#include "fs/pool.hpp"
#include "fs/templates.hpp"
#include "isolation/cgroup.hpp"
#include "isolation/jail_mounts.hpp"
#include "isolation/seccomp.hpp"
#include "sandboxd/manager/cpu_spread.hpp"
#include "sandboxd/manager/id_blocks.hpp"
#include "sandboxd/manager/manager.hpp"
#include "sandboxd/manager/state_file.hpp"

namespace sandboxd::manager {

// What a manager puts sandboxes together from. Owned by it; the pool and the control groups outlive its sandboxes.
struct Parts {
    Fd agent_dir;
    std::unique_ptr<fs::Pool> pool;
    std::unique_ptr<fs::TemplateStore> templates;
    std::unique_ptr<isolation::CgroupDriver> cgroups;
    std::array<isolation::SeccompFilters, policies::kProfiles> seccomp;
    StateDirectory states;
    IdBlocks ids;
    Fd cpu_info;  // the host's /proc/cpuinfo, of which each sandbox is shown its CPUs
    isolation::HiddenProgram sudo;
    CpuSpread cpus{CpuSpread::cpus_of_this_process()};
};

// Opens or makes them below config.state_dir. On failure nothing is mounted, and the daemon's control group is gone unless
// sandboxes of a predecessor live in it.
[[nodiscard]] Result<Parts> open_parts(const ManagerConfig& config);

}  // namespace sandboxd::manager
