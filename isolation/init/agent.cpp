#include "isolation/init/agent.hpp"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "isolation/init/exec.hpp"
#include "isolation/init/files.hpp"
#include "isolation/init/kernel.hpp"
#include "sandboxd/agent/protocol.hpp"

namespace sandboxd::init {

using agent::Failure;
using agent::Header;
using agent::Step;
using agent::Type;

namespace {

std::byte g_in[agent::kMaxMessage];
std::byte g_out[1024];

class Agent {
public:
    explicit Agent(JailState& jail) : jail_{jail}, execs_{jail} {}

    [[noreturn]] void run() {
        sigset_t mask;
        ::sigfillset(&mask);
        ::sigprocmask(SIG_SETMASK, &mask, nullptr);
        sigset_t children;
        ::sigemptyset(&children);
        ::sigaddset(&children, SIGCHLD);
        const int signals = ::signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
        (void)::fcntl(jail_.agent_listener, F_SETFL, O_NONBLOCK);
        for (;;) {
            pollfd fds[] = {{signals, POLLIN, 0}, {jail_.agent_listener, POLLIN, 0}, {connection_, POLLIN, 0}};
            if (::poll(fds, 3, milliseconds_to(execs_.enforce_deadlines())) <= 0) continue;
            if (fds[0].revents != 0) reap(signals);
            if (fds[2].revents != 0) receive();
            if (fds[1].revents != 0) accept();
        }
    }

private:
    static int milliseconds_to(std::uint64_t at) {
        if (at == 0) return -1;
        const std::uint64_t now = boot_time_ns();
        if (at <= now) return 0;
        const std::uint64_t left = (at - now + 999'999U) / 1'000'000U;
        return left > 60'000 ? 60'000 : static_cast<int>(left);
    }

    // ---- children ------------------------------------------------------------------------------------------

    void reap(int signals) {
        signalfd_siginfo info;
        while (::read(signals, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
        }
        int status = 0;
        for (pid_t pid = ::waitpid(-1, &status, WNOHANG); pid > 0; pid = ::waitpid(-1, &status, WNOHANG)) {
            if (task_ended(pid)) continue;
            const ExecSlot* slot = execs_.reaped(pid, status);
            if (slot != nullptr) send(Type::exec_exited, 0, slot->state);
        }
        execs_.sweep_leaves();
    }

    bool task_ended(pid_t pid) {
        for (pid_t& task : tasks_) {
            if (task != pid) continue;
            task = 0;
            return true;
        }
        return false;
    }

    // ---- connection ----------------------------------------------------------------------------------------

    // The newest connection is the daemon's current API; whatever the old one was, it is over.
    void accept() {
        const int fd = ::accept4(jail_.agent_listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) return;
        hang_up();
        connection_ = fd;
    }

    void hang_up() {
        if (connection_ >= 0) ::close(connection_);
        connection_ = -1;
        greeted_ = false;
    }

    // Never waits for the API. What can't be sent is not lost: state is told again after the next hello.
    template <class Body>
    void send(Type type, std::uint32_t request, const Body& body, const int* fds = nullptr, std::size_t count = 0) {
        if (connection_ < 0 || (!greeted_ && type != Type::error)) return;
        const std::size_t size = agent::encode(g_out, sizeof g_out, type, request, body);
        if (size == 0) return;
        if (!send_with_fds(connection_, g_out, size, fds, count, MSG_DONTWAIT) && errno != EAGAIN) hang_up();
    }

    void receive() {
        Incoming in = receive_with_fds(connection_, g_in, sizeof g_in, MSG_DONTWAIT);
        if (in.size < 0 && errno == EAGAIN) return;
        if (in.size <= 0) return hang_up();
        wire::Reader reader{g_in, static_cast<std::size_t>(in.size)};
        Header header;
        if (agent::decode_header(reader, header) && in.fd_count <= 1) {
            dispatch(header, reader, in.fd_count == 1 ? in.fds[0] : -1);
        } else {
            hang_up();
        }
        for (std::size_t i = 0; i < in.fd_count; ++i) ::close(in.fds[i]);
    }

    void answer(std::uint32_t request, const Failure& failure) {
        if (failure.error == 0) return send(Type::ok, request, agent::Empty{});
        send(Type::error, request, failure);
    }

    void refuse(std::uint32_t request, int error, Step step) {
        Failure failure;
        failure.error = error;
        failure.step = step;
        send(Type::error, request, failure);
    }

    template <class Body, class Do>
    void with(const Header& header, wire::Reader& reader, Do act) {
        Body body;
        if (!agent::decode_body(reader, body)) return refuse(header.request, EBADMSG, Step::request);
        answer(header.request, act(body));
    }

    void dispatch(const Header& header, wire::Reader& reader, int fd) {
        if (header.type == Type::hello) return hello(header.request);
        if (!greeted_) return hang_up();
        switch (header.type) {
            case Type::exec: return exec(header.request, reader, fd);
            case Type::signal: return with<agent::Signal>(header, reader, [&](const agent::Signal& r) { return execs_.signal(r); });
            case Type::resize: return with<agent::Resize>(header, reader, [&](const agent::Resize& r) { return execs_.resize(r); });
            case Type::close_stdin: return with<agent::ExecRef>(header, reader, [&](const agent::ExecRef& r) { return execs_.close_stdin(r.exec); });
            case Type::forget: return with<agent::ExecRef>(header, reader, [&](const agent::ExecRef& r) { return execs_.forget(r.exec); });
            case Type::ping: return send(Type::pong, header.request, agent::Empty{});
            case Type::connect_port: case Type::file_open: case Type::file_stat: case Type::file_list: case Type::file_remove:
            case Type::file_mkdir: case Type::file_rename: case Type::file_watch:
                return file_task(header, reader);
            default: return refuse(header.request, ENOSYS, Step::request);
        }
    }

    void hello(std::uint32_t request) {
        greeted_ = true;
        agent::HelloOk ok;
        ok.execs = execs_.held();
        send(Type::hello_ok, request, ok);
        for (std::uint32_t i = 0; i < agent::kMaxExecs; ++i) {
            const ExecSlot& slot = execs_.slots()[i];
            if (slot.used && !slot.forgotten) send(Type::exec_state, request, slot.state, slot.fds, slot.fd_count);
        }
        send(Type::sync_done, request, agent::Empty{});
    }

    void exec(std::uint32_t request, wire::Reader& reader, int fd) {
        agent::Exec body;
        if (!agent::decode_body(reader, body) || ((body.flags & agent::kWithFiles) != 0) != (fd >= 0)) {
            return refuse(request, EBADMSG, Step::request);
        }
        ExecSlot* slot = nullptr;
        const Failure failure = execs_.start(body, fd, slot);
        if (failure.error != 0) return send(Type::error, request, failure);
        agent::ExecStarted started;
        started.exec = slot->state.exec;
        started.pid = slot->state.pid;
        send(Type::exec_started, request, started, slot->fds, slot->fd_count);
    }

    void file_task(const Header& header, wire::Reader& reader) {
        pid_t* place = nullptr;
        for (pid_t& task : tasks_) {
            if (task == 0) place = &task;
        }
        if (place == nullptr) return refuse(header.request, EAGAIN, Step::busy);
        pid_t child = -1;
        if (header.type == Type::connect_port) {
            agent::ConnectPort body;
            if (!agent::decode_body(reader, body)) return refuse(header.request, EBADMSG, Step::request);
            child = start_connect_task(jail_, connection_, header.request, body.port);
        } else {
            child = start_file_task(jail_, connection_, header, reader);
        }
        if (child < 0) return refuse(header.request, errno, Step::fork);
        *place = child;
    }

    JailState& jail_;
    Execs execs_;
    int connection_ = -1;
    bool greeted_ = false;
    pid_t tasks_[agent::kMaxFileTasks] = {};
};

}  // namespace

void run_agent(JailState& jail) {
    static Agent agent{jail};
    agent.run();
}

}  // namespace sandboxd::init
