#pragma once

#include "isolation/init/limits_view.hpp"
#include "isolation/launch_plan.hpp"

namespace sandboxd::init {

inline constexpr std::size_t kMaxJoin = 8;
inline constexpr std::size_t kMaxLowers = 16;

// What the stages hand on to each other and, in the end, to the agent. One per process; descriptors are -1 until set.
struct JailState {
    isolation::LaunchPlan plan;

    int upper = -1;
    int lowers[kMaxLowers];
    std::size_t lower_count = 0;
    int binds[isolation::kMaxBinds];
    std::size_t bind_count = 0;
    int agent_listener = -1;
    int leaf_unified = -1;
    int leaf_memory = -1;
    int leaf_cpuacct = -1;
    int join_procs[kMaxJoin];
    std::size_t join_count = 0;

    int limits_cpu = -1;
    int cpu_info = -1;
    int sudo_client = -1;
    int sudo_listener = -1;  // what a `sudo` in the jail connects to
    isolation::Walls walls;

    int stage = -1;         // root of the tmpfs that everything is staged in, until the pivot
    int shm = -1;
    int new_root = -1;      // O_PATH of the overlay's root, until the pivot
    int null_mount = -1;    // verified /dev/null, for masks
    int user_sysctls = -1;  // /proc/sys/user, opened before it becomes read-only
    int workload_userns = -1;
    LimitsView view;
};

// Runs every stage in order. On failure: the stage, with errno set.
isolation::Stage set_up(JailState& jail);
void print_stages();

}  // namespace sandboxd::init
