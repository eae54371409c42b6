#pragma once

#include <cstdint>

namespace sandboxd::probe {

// What the conductor is started with, by number: the jail's agent, where reports go, and this program's own file.
inline constexpr int kAgentFd = 3;
inline constexpr int kReportFd = 4;
inline constexpr int kProgramFd = 5;

struct Conduct {
    std::uint32_t uid = 0;  // to run as, outside of the jail
    std::uint32_t gid = 0;
    unsigned long memory_bytes = 0;  // the jail's limits
    unsigned long disk_bytes = 0;
    unsigned long processes = 0;
    bool as_root = false;  // the jail's root tries too
};

// Gives every right up, has this program tried in the jail, and reports (WallReport). Then waits, with the last program
// still in the jail, until the other end of the report socket hangs up. Returns the exit status.
int conduct(const Conduct& what);

}  // namespace sandboxd::probe
