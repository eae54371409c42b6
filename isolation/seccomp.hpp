#pragma once

#include <string>

#include "sandboxd/core/result.hpp"

namespace sandboxd::isolation {

// Two stacked filters as loadable BPF (arrays of struct sock_filter). Two, because libseccomp lets an unconditional
// ALLOW of a name silently win over a conditional ERRNO rule of the same name; stacked, the strictest action wins.
//
// Loaded in the order names, arguments. The kernel hands a call to the listener of the filter that refused it, of two
// that say USER_NOTIF to the one loaded last, and a stack has one listener: so the argument filter repeats the noted
// names, and has the listener. Without a listener the kernel answers ENOSYS: what is refused stays refused.
struct SeccompFilters {
    std::string names;      // allow-list; what is not in it answers as the profile says (ENOSYS by default)
    std::string arguments;  // deny-list over arguments, compared as 32 bits
    std::string refusals;   // RefusalRules (refusal_rules.hpp) of what answers USER_NOTIF; empty: nothing does
};

// Whether the init is told of the profile's noted refusals (and answers them), or the kernel answers alone.
enum class Refusals { noted, silent };

// Compiles the text of a `policies/seccomp/<profile>.json`. Costs about 2 ms: done once at start. invalid_argument for a
// profile that is wrong, or that refuses what sandbox-init itself needs between the filter and the program.
[[nodiscard]] Result<SeccompFilters> compile_seccomp(const std::string& profile_json, Refusals refusals = Refusals::noted);

// Whether filters loaded here may have a listener: not where the daemon itself runs below one (some container
// managers), because a stack has one. Tries it in a thread that ends.
[[nodiscard]] bool can_note_refusals();

}  // namespace sandboxd::isolation
