#include "seccomp_evaluator.hpp"

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstring>
#include <stdexcept>
#include <vector>

namespace sandboxd::isolation::test {

namespace {

// Struct seccomp_data as the kernel lays it out, little-endian.
std::uint32_t load(const Call& call, std::uint32_t offset) {
    seccomp_data data{};
    data.nr = static_cast<int>(call.number);
    data.arch = call.architecture;
    for (std::size_t i = 0; i < call.args.size(); ++i) data.args[i] = call.args[i];
    if (offset % 4 != 0 || offset > sizeof data - 4)
        throw std::runtime_error{"load outside of seccomp_data"};
    std::uint32_t word = 0;
    std::memcpy(&word, reinterpret_cast<const char*>(&data) + offset, sizeof word);
    return word;
}

bool taken(std::uint16_t code, std::uint32_t accumulator, std::uint32_t k) {
    switch (code) {
        case BPF_JMP | BPF_JEQ | BPF_K:
            return accumulator == k;
        case BPF_JMP | BPF_JGT | BPF_K:
            return accumulator > k;
        case BPF_JMP | BPF_JGE | BPF_K:
            return accumulator >= k;
        case BPF_JMP | BPF_JSET | BPF_K:
            return (accumulator & k) != 0;
        default:
            throw std::runtime_error{"instruction " + std::to_string(code)};
    }
}

int strictness(std::uint32_t action) {
    switch (action & SECCOMP_RET_ACTION_FULL) {
        case SECCOMP_RET_KILL_PROCESS:
            return 4;
        case SECCOMP_RET_ERRNO:
            return 3;
        case SECCOMP_RET_USER_NOTIF:
            return 2;
        case SECCOMP_RET_ALLOW:
            return 1;
        default:
            throw std::runtime_error{"action " + std::to_string(action)};
    }
}

}  // namespace

std::uint32_t evaluate(const std::string& program, const Call& call) {
    if (program.empty() || program.size() % sizeof(sock_filter) != 0)
        throw std::runtime_error{"not a program"};
    std::vector<sock_filter> code(program.size() / sizeof(sock_filter));
    std::memcpy(code.data(), program.data(), program.size());
    std::uint32_t accumulator = 0;
    // Jumps go forwards only, so this ends.
    for (std::size_t at = 0; at < code.size(); ++at) {
        const sock_filter& in = code[at];
        switch (in.code) {
            case BPF_LD | BPF_W | BPF_ABS:
                accumulator = load(call, in.k);
                break;
            case BPF_ALU | BPF_AND | BPF_K:
                accumulator &= in.k;
                break;
            case BPF_RET | BPF_K:
                return in.k;
            case BPF_JMP | BPF_JA:
                at += in.k;
                break;
            default:
                at += taken(in.code, accumulator, in.k) ? in.jt : in.jf;
        }
    }
    throw std::runtime_error{"the program ends without an answer"};
}

std::uint32_t evaluate(const std::string& first, const std::string& second, const Call& call) {
    const std::uint32_t a = evaluate(first, call);
    const std::uint32_t b = evaluate(second, call);
    return strictness(a) > strictness(b) ? a : b;
}

std::string action_text(std::uint32_t action) {
    switch (action & SECCOMP_RET_ACTION_FULL) {
        case SECCOMP_RET_KILL_PROCESS:
            return "KILL_PROCESS";
        case SECCOMP_RET_ERRNO:
            return "ERRNO " + std::to_string(action & SECCOMP_RET_DATA);
        case SECCOMP_RET_ALLOW:
            return "ALLOW";
        case SECCOMP_RET_USER_NOTIF:
            return "USER_NOTIF";
        default:
            return "other " + std::to_string(action);
    }
}

}  // namespace sandboxd::isolation::test
