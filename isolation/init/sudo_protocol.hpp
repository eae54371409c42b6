#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sandboxd/core/wire.hpp"

// sandbox-sudo (the client, anybody in the jail) <-> a helper of PID 1, one AF_UNIX SOCK_SEQPACKET connection per command
// at /run/sandboxd/sudo.sock. The client sends a SudoRequest with stdin, stdout and stderr; it is answered with
// `started` or a refusal, then with `exited`. Meanwhile the client may send SudoSignals. Hanging up sends SIGHUP to the
// command.
namespace sandboxd::init {

inline constexpr char kSudoSocket[] = "/run/sandboxd/sudo.sock";
inline constexpr std::uint32_t kSudoMagic = 0x31525853;  // "SXR1"
inline constexpr std::size_t kMaxSudoMessage = 128 * 1024;
inline constexpr std::uint8_t kNoTerminal = 255;

struct SudoRequest {
    std::uint32_t magic = kSudoMagic;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    bool only_ask = false;  // answered with `started` when the command would be allowed; none is run
    std::uint8_t terminal = kNoTerminal;  // which of the three becomes the controlling terminal of the command's session
    std::string_view cwd;
    std::string_view argv;  // NUL-terminated strings one after another
    std::string_view env;
    template <class A, class S>
    static bool visit(A& a, S& s) {
        return a(s.magic) && a(s.uid) && a(s.gid) && a(s.only_ask) && a(s.terminal) && a(s.cwd) && a(s.argv) && a(s.env);
    }
};

struct SudoSignal {
    std::int32_t signal = 0;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.signal); }
};

enum class SudoAnswer : std::uint8_t {
    started = 1,
    refused,   // by policy: who asked may not
    failed,    // `error`: errno of what went wrong on the way; `exec`: the program itself could not be run
    exited,    // `status`: exit code
    signaled,  // `status`: the signal
};

struct SudoReply {
    SudoAnswer answer{};
    std::int32_t error = 0;
    bool exec = false;
    std::int32_t status = 0;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.answer) && a(s.error) && a(s.exec) && a(s.status); }
};

}  // namespace sandboxd::init
