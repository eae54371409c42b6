#pragma once

#include <sched.h>

#include <cstddef>
#include <cstdint>

namespace sandboxd::init {

struct JailState;

// What programs are shown of the machine: as many CPUs as the quota is worth, the memory limit as the memory, the
// sandbox's own use as the load. Plain files of the stage, mounted over those of /proc; PID 1 writes them through
// descriptors from before the mounts, so the limits may change while the jail lives.
struct LimitsView {
    int cpuinfo = -1;
    int meminfo = -1;
    int stat = -1;
    int loadavg = -1;
    int cpu_folder = -1;         // of /sys/devices/system/cpu
    cpu_set_t allowed;           // PID 1's own: those that the daemon was given
    cpu_set_t cpus;              // the workload's
    std::uint32_t count = 0;     // how many; 0: not limited, or more than the kernel's answers have room for
    std::uint64_t started_ns = 0;
    std::uint64_t started_seconds = 0;  // of the epoch
    std::uint64_t written_ns = 0;
    std::uint64_t used_ticks = 0;       // at that time
    std::uint64_t loads[3] = {0, 0, 0};  // CPUs kept busy, over 1, 5 and 15 minutes; in 1/1024
};

// How often the files are written while something runs.
inline constexpr std::uint64_t kViewPeriodNs = 1'000'000'000;

// Writes the files as the limits and counters of the control groups are now; `last_pid` is the newest process. True when
// the set of CPUs has changed; this process then has it, and so has what it starts.
bool refresh_view(JailState& jail, std::uint64_t now_ns, std::uint32_t running, std::uint32_t last_pid);

}  // namespace sandboxd::init
