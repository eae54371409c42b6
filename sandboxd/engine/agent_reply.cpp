#include "sandboxd/engine/agent_reply.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "sandboxd/core/sys_io.hpp"

namespace sandboxd::engine {

namespace {

constexpr int kLargestErrno = 4095;
constexpr unsigned kPtmxMajor = 5;  // /dev/ptmx and every opened master, see the kernel's devices.txt
constexpr unsigned kPtmxMinor = 2;

Error wrong(const char* what) { return Error{Errc::protocol_error, "agent", std::string{"a descriptor is no "} + what}; }

}  // namespace

std::string_view to_string(agent::Step step) noexcept {
    switch (step) {
        case agent::Step::none: return "none";
        case agent::Step::request: return "request";
        case agent::Step::fork: return "fork";
        case agent::Step::cgroup: return "cgroup";
        case agent::Step::pipe: return "pipe";
        case agent::Step::pty: return "pty";
        case agent::Step::userns: return "userns";
        case agent::Step::session: return "session";
        case agent::Step::ids: return "ids";
        case agent::Step::rlimits: return "rlimits";
        case agent::Step::files: return "files";
        case agent::Step::cwd: return "cwd";
        case agent::Step::seccomp: return "seccomp";
        case agent::Step::exec: return "exec";
        case agent::Step::path: return "path";
        case agent::Step::busy: return "busy";
    }
    return "unknown";
}

Error failure_error(const agent::Failure& failure, std::string_view operation) {
    if (failure.error <= 0 || failure.error > kLargestErrno) return AgentReply::malformed(operation);
    return errno_error(failure.error, std::string{operation}).fact("step", std::string{to_string(failure.step)});
}

Error AgentReply::malformed(std::string_view operation) {
    return Error{Errc::protocol_error, std::string{operation}, "the sandbox's agent gave an answer that makes no sense"};
}

Result<void> AgentReply::check(agent::Type expected, std::size_t fd_count, std::string_view operation) const {
    if (type == agent::Type::error) {
        agent::Failure failure;
        wire::Reader reader{reinterpret_cast<const std::byte*>(body.data()), body.size()};
        if (!agent::decode_body(reader, failure) || !fds.empty()) return malformed(operation);
        return failure_error(failure, operation);
    }
    if (type != expected || fds.size() != fd_count) return malformed(operation);
    return {};
}

Result<void> check_pipe(const Fd& fd) {
    SBX_TRY(const struct stat st, sys::fstat(fd.get()));
    if (!S_ISFIFO(st.st_mode)) return wrong("pipe");
    return {};
}

Result<void> check_terminal(const Fd& fd) {
    SBX_TRY(const struct stat st, sys::fstat(fd.get()));
    if (!S_ISCHR(st.st_mode) || major(st.st_rdev) != kPtmxMajor || minor(st.st_rdev) != kPtmxMinor) return wrong("terminal");
    return {};
}

Result<void> check_regular(const Fd& fd) {
    SBX_TRY(const struct stat st, sys::fstat(fd.get()));
    if (!S_ISREG(st.st_mode)) return wrong("regular file");
    return {};
}

Result<void> check_packet_socket(const Fd& fd) {
    const auto kind = sys::socket_kind(fd.get());
    if (!kind || kind->domain != AF_UNIX || kind->type != SOCK_SEQPACKET) return wrong("packet socket");
    return {};
}

Result<void> check_tcp_socket(const Fd& fd) {
    const auto kind = sys::socket_kind(fd.get());
    if (!kind || (kind->domain != AF_INET && kind->domain != AF_INET6) || kind->type != SOCK_STREAM) return wrong("TCP socket");
    return {};
}

}  // namespace sandboxd::engine
