#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "policies/denial.hpp"
#include "sandboxd/agent/protocol.hpp"
#include "sandboxd/engine/exec.hpp"

// What an exec was refused: from what its agent tells, from the kernel's counters, and from what this process knows.
namespace sandboxd::engine {

// Nothing: what the agent told makes no sense.
[[nodiscard]] std::optional<policies::Denials> denials_told(const agent::ExecRefusals& told, policies::Profile profile,
                                                            const policies::SeccompProfiles& profiles);

// Whether the disk can have become full meanwhile. Asking how full it is costs a round trip to the node, so short
// programs don't: nobody writes more than 8 GiB a second.
[[nodiscard]] bool disk_may_be_full(std::uint64_t limit, std::uint64_t used_before, std::chrono::nanoseconds ran) noexcept;

// At the end of an exec.
struct ResourceUse {
    std::uint64_t oom_kills = 0;
    std::uint64_t forks_refused = 0;        // in the whole sandbox while the exec ran
    std::optional<std::uint64_t> disk_used;
    std::uint64_t disk_used_before = 0;
    bool failed = false;                    // it ended otherwise than with 0
    bool file_size_signal = false;          // ended by SIGXFSZ
    std::uint64_t out_dropped = 0;
    std::uint64_t err_dropped = 0;
    std::uint64_t output_cap = 0;
    bool pty = false;
};
void add_resources(const ResourceUse& use, const policies::Limits& limits, policies::Denials& denials);

}  // namespace sandboxd::engine
