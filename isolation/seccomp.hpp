#pragma once

#include <string>

#include "sandboxd/core/result.hpp"

namespace sandboxd::isolation {

// Two stacked filters as loadable BPF (arrays of struct sock_filter). Two, because libseccomp lets an unconditional
// ALLOW of a name silently win over a conditional ERRNO rule of the same name; stacked, the strictest action wins.
struct SeccompFilters {
    std::string arguments;  // deny-list over arguments, compared as 32 bits
    std::string names;      // allow-list; what is not in it answers as the profile says (ENOSYS by default)
};

// Compiles `policies/seccomp/<profile>.json` (its text). Costs about 2 ms: done once at start.
[[nodiscard]] Result<SeccompFilters> compile_seccomp(const std::string& profile_json);

}  // namespace sandboxd::isolation
