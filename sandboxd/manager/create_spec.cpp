#include "sandboxd/manager/create_spec.hpp"

#include <algorithm>

namespace sandboxd::manager {

isolation::CgroupLimits cgroup_limits(const policies::Limits& limits) {
    isolation::CgroupLimits out;
    out.memory_bytes = limits.memory_bytes;
    out.cpu_milli = limits.cpu_milli;
    out.pids = limits.pids;
    return out;
}

std::uint64_t shm_bytes(const policies::Limits& limits) { return limits.memory_bytes / 2; }

Result<void> check_spec(const control::CreateSpec& spec) {
    const policies::Limits& asked = spec.limits;
    const policies::Limits& least = policies::kLeastLimits;
    const bool enough = asked.cpu_milli >= least.cpu_milli && asked.memory_bytes >= least.memory_bytes &&
                        asked.disk_bytes >= least.disk_bytes && asked.pids >= least.pids;
    if (!enough) return Error{Errc::invalid_argument, "limits", "below what a sandbox needs to start"};
    const auto label = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
    if (spec.hostname.empty() || spec.hostname.size() > 63 || !std::all_of(spec.hostname.begin(), spec.hostname.end(), label)) {
        return Error{Errc::invalid_argument, "hostname", "expected a host name label of a-z, 0-9 and -"};
    }
    return {};
}

}  // namespace sandboxd::manager
