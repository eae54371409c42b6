#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace sandboxd::isolation::test {

// What the kernel's filter would see of a system call.
struct Call {
    std::uint32_t number = 0;
    std::array<std::uint64_t, 6> args{};
    std::uint32_t architecture = 0xc000003e;  // AUDIT_ARCH_X86_64
};

// The SECCOMP_RET_* value with which the program ends. Throws std::runtime_error for an instruction
// that a seccomp filter may not hold, a jump out of the program or a program that does not return.
std::uint32_t evaluate(const std::string& program, const Call& call);

// Both filters, as when they are stacked: the strictest wins, of equally strict ones the one loaded
// last.
std::uint32_t evaluate(const std::string& first, const std::string& second, const Call& call);

// "ALLOW", "KILL_PROCESS", "ERRNO 38", "USER_NOTIF"
std::string action_text(std::uint32_t action);

}  // namespace sandboxd::isolation::test
