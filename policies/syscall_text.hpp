#pragma once

#include <cstdint>
#include <string>

#include "policies/denial.hpp"

// System calls and their arguments in words, for x86-64.
namespace sandboxd::policies {

// "mount"; "syscall 999" for a number without a name.
[[nodiscard]] std::string syscall_name(std::uint32_t number);

// "socket(AF_PACKET, SOCK_RAW)", "unshare(CLONE_NEWUSER|CLONE_NEWNET)", "mount".
[[nodiscard]] std::string call_text(const RefusedCall& call);

}  // namespace sandboxd::policies
