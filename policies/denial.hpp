#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "policies/limits.hpp"
#include "policies/profile.hpp"
#include "policies/seccomp_profile.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::policies {

// Something that a program was refused, told in a form that whoever wrote the program can act on.
struct Denial {
    std::string kind;  // syscall mount device memory pids disk file_limit output_cap
    std::string what;  // "socket(AF_PACKET, SOCK_RAW)", "17 MiB of stdout"
    std::string rule;  // what refused it: "seccomp:default", "limits.pids=64"
    std::string hint;  // which field allows it, or that nothing does and why
    std::uint64_t count = 0;  // how often; of output_cap: bytes
    bool operator==(const Denial&) const = default;
};

struct Denials {
    std::vector<Denial> list;
    std::uint64_t others = 0;  // refusals of kinds for which the list had no room
    [[nodiscard]] bool empty() const noexcept { return list.empty() && others == 0; }
    bool operator==(const Denials&) const = default;
};

// For storing. parse: invalid_argument for what to_text can't have written; "" is nothing.
[[nodiscard]] std::string to_text(const Denials& denials);
[[nodiscard]] Result<Denials> parse_denials(std::string_view text);

// A system call that a profile refused, as the init tells it. Its numbers can be anything.
struct RefusedCall {
    struct Argument {
        unsigned index = 0;
        std::uint32_t value = 0;
    };
    std::uint32_t number = 0;
    int error = 0;
    std::vector<Argument> arguments;  // those that tell it from others of the same call
    std::uint64_t count = 0;
};

using SeccompProfiles = std::array<SeccompProfile, kProfiles>;  // by Profile

// `profile` of the sandbox. What the profile's text does not explain (it has changed since the sandbox was made) is told
// without a reason.
[[nodiscard]] Denial explain(const RefusedCall& call, Profile profile, const SeccompProfiles& profiles);

[[nodiscard]] Denial memory_denial(const Limits& limits, std::uint64_t kills);
[[nodiscard]] Denial pids_denial(const Limits& limits, std::uint64_t forks);
// The kernel tells nobody who was refused disk space: concluded from a disk that is full.
[[nodiscard]] Denial disk_denial(const Limits& limits, std::uint64_t used_bytes);
[[nodiscard]] Denial file_size_denial();
// `cap`: of this exec, which may be lower than the sandbox's.
[[nodiscard]] Denial output_denial(std::string_view stream, std::uint64_t cap, const Limits& limits, std::uint64_t dropped_bytes);

}  // namespace sandboxd::policies
