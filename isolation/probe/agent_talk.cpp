#include "isolation/probe/agent_talk.hpp"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

namespace sandboxd::probe {

using agent::Type;

namespace {

alignas(8) std::byte g_in[agent::kMaxMessage];
alignas(8) std::byte g_out[agent::kMaxMessage];

struct ControlBuffer {
    alignas(cmsghdr) char data[CMSG_SPACE(sizeof(int) * agent::kMaxFds)];
};

bool malformed() {
    errno = EPROTO;
    return false;
}

}  // namespace

void AgentTalk::close_fds() {
    while (fd_count_ > 0) ::close(fds_[--fd_count_]);
}

template <class Body>
bool AgentTalk::send(Type type, const Body& body, int fd) {
    const std::size_t size = agent::encode(g_out, sizeof g_out, type, ++request_, body);
    if (size == 0) {
        errno = E2BIG;
        return false;
    }
    iovec part{g_out, size};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    ControlBuffer control{};
    if (fd >= 0) {
        message.msg_control = control.data;
        message.msg_controllen = CMSG_SPACE(sizeof fd);
        cmsghdr* const header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        ::memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    return ::sendmsg(socket_, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(size);
}

bool AgentTalk::receive(agent::Header& header, wire::Reader& body) {
    close_fds();
    iovec part{g_in, sizeof g_in};
    ControlBuffer control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data;
    message.msg_controllen = sizeof control.data;
    const ssize_t size = ::recvmsg(socket_, &message, MSG_CMSG_CLOEXEC);
    if (size < 0) return false;
    for (cmsghdr* part_of = CMSG_FIRSTHDR(&message); part_of != nullptr; part_of = CMSG_NXTHDR(&message, part_of)) {
        if (part_of->cmsg_level != SOL_SOCKET || part_of->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (part_of->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        if (count > agent::kMaxFds - fd_count_) return malformed();
        ::memcpy(fds_ + fd_count_, CMSG_DATA(part_of), count * sizeof(int));
        fd_count_ += count;
    }
    if (size == 0 || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return malformed();
    body = wire::Reader{g_in, static_cast<std::size_t>(size)};
    return agent::decode_header(body, header) || malformed();
}

void AgentTalk::note_exit(wire::Reader& body) {
    agent::ExecState state;
    if (agent::decode_body(body, state)) exit_ = state;
}

bool AgentTalk::reply(agent::Header& header, wire::Reader& body) {
    for (;;) {
        if (!receive(header, body)) return false;
        if (header.request == 0) {  // an event; of those only an exec's end matters here
            if (header.type == Type::exec_exited) note_exit(body);
            continue;
        }
        if (header.request != request_) return malformed();
        if (header.type != Type::error) return true;
        agent::Failure failure;
        if (!agent::decode_body(body, failure)) return malformed();
        errno = failure.error;
        return false;
    }
}

const char* AgentTalk::greet() {
    agent::Header header;
    wire::Reader body{nullptr, 0};
    if (!send(Type::hello, agent::Empty{})) return "greet the jail";
    while (reply(header, body)) {
        if (header.type == Type::sync_done) return nullptr;
        if (header.type != Type::hello_ok && header.type != Type::exec_state) break;
    }
    return "greet the jail";
}

const char* AgentTalk::start(const agent::Exec& exec, int files, Started& started) {
    const std::size_t wanted = (exec.flags & agent::kStdin) != 0 ? 3 : 2;
    agent::Header header;
    wire::Reader body{nullptr, 0};
    agent::ExecStarted answer;
    if (!send(Type::exec, exec, files) || !reply(header, body)) return "start a program in the jail";
    if (header.type != Type::exec_started || !agent::decode_body(body, answer) || answer.exec != exec.exec || fd_count_ != wanted) {
        (void)malformed();
        return "start a program in the jail";
    }
    started.out = fds_[0];
    started.stdin_ = wanted == 3 ? fds_[2] : -1;
    ::close(fds_[1]);  // nothing is written there
    fd_count_ = 0;
    return nullptr;
}

const char* AgentTalk::ended(std::uint64_t exec, agent::ExitKind& kind, int& status) {
    agent::Header header;
    wire::Reader body{nullptr, 0};
    while (exit_.exec != exec) {
        if (!receive(header, body)) return "wait for a program in the jail";
        if (header.type == Type::exec_exited) note_exit(body);
    }
    kind = exit_.kind;
    status = exit_.status;
    return nullptr;
}

const char* AgentTalk::forget(std::uint64_t exec) {
    agent::Header header;
    wire::Reader body{nullptr, 0};
    agent::ExecRef reference;
    reference.exec = exec;
    return send(Type::forget, reference) && reply(header, body) ? nullptr : "forget a program in the jail";
}

}  // namespace sandboxd::probe
