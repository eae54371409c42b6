#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sandboxd/core/result.hpp"

namespace sandboxd::policies {

// A profile file (policies/seccomp/*.json) as values. Names are checked when it is compiled, not
// here.
//
//   {"name", "version": 1, "description",
//    "default_errno": what a call answers that stands nowhere,
//    "allow": [names], "reasons": {name: why a dangerous call is allowed},
//    "errno": {"EPERM": [names], ...}, "silent": [names of errno],
//    "arguments": [{"syscall", "arg", "mask", "op": "eq"|"ne"|"gt", "value", "errno", "why"},
//                  {"syscall", "all": [{"arg", "mask", "op", "value"}, one more], "errno", "why"}]}
//
// An argument rule refuses an allowed call for what its arguments are; of several that match, the
// first one answers. All comparisons are of 32 bits; "ne" and "gt" take the whole mask.
//
// A refusal is noted (told in `denials` of the exec's answer) unless libraries probe for the call:
// with the errnos OK, ENOSYS, EINVAL and EOPNOTSUPP, or when it is silent ("silent", or
// "silent": true in an argument rule).
struct SeccompCondition {
    enum class Op { eq, ne, gt };
    unsigned arg = 0;
    std::uint32_t mask = 0;
    Op op = Op::eq;
    std::uint32_t value = 0;
    bool operator==(const SeccompCondition&) const = default;
};

struct SeccompArgumentRule {
    std::string syscall;
    std::vector<SeccompCondition> all;  // one or two
    int error = 0;
    bool noted = true;
    std::string why;
    bool operator==(const SeccompArgumentRule&) const = default;
};

struct SeccompProfile {
    std::string name;
    int default_error = 0;
    std::vector<std::string> allow;
    std::map<std::string, std::string> reasons;
    struct Refused {
        std::string syscall;
        int error = 0;  // 0: pretends to have worked
        bool noted = true;
        bool operator==(const Refused&) const = default;
    };
    std::vector<Refused> refused;
    std::vector<SeccompArgumentRule> arguments;
    bool operator==(const SeccompProfile&) const = default;
};

// invalid_argument, naming the place, for anything unknown, missing, doubled or of the wrong type:
// a typing error in a profile must not become a hole.
[[nodiscard]] Result<SeccompProfile> parse_seccomp_profile(const std::string& json);

}  // namespace sandboxd::policies
