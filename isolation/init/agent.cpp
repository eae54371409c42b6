#include "isolation/init/agent.hpp"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "isolation/init/exec.hpp"
#include "isolation/init/files.hpp"
#include "isolation/init/kernel.hpp"
#include "isolation/init/sudo.hpp"
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
    explicit Agent(JailState& jail) : jail_{jail}, execs_{jail}, sudo_{jail} {}

    [[noreturn]] void run() {
        sigset_t mask;
        ::sigfillset(&mask);
        ::sigprocmask(SIG_SETMASK, &mask, nullptr);
        sigset_t children;
        ::sigemptyset(&children);
        ::sigaddset(&children, SIGCHLD);
        void* shared = ::mmap(nullptr, agent::kMaxFileTasks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (shared == MAP_FAILED) ::_exit(1);
        answered_ = static_cast<std::uint8_t*>(shared);
        const int signals = ::signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
        (void)::fcntl(jail_.agent_listener, F_SETFL, O_NONBLOCK);
        for (;;) {
            pollfd* const fds = waits_;
            fds[0] = {signals, POLLIN, 0};
            fds[1] = {jail_.agent_listener, POLLIN, 0};
            fds[2] = {connection_, POLLIN, 0};
            fds[3] = {sudo_.listener(boot_time_ns()), POLLIN, 0};
            const nfds_t count = kFixedWaits + wait_for_execs(fds + kFixedWaits);
            const std::uint64_t next = sooner(sooner(execs_.enforce_deadlines(), execs_.keep_view()), sudo_.again_at_ns());
            if (::poll(fds, count, milliseconds_to(next)) <= 0) continue;
            // Starts and refusals before exits: a short program has ended when its exec is noticed. One refused call of
            // each exec a turn: whatever they are flooded with, the API has its turn.
            for (nfds_t i = kFixedWaits; i < count; ++i) {
                if (fds[i].revents != 0) exec_ready(*waiting_[i - kFixedWaits], fds[i].revents);
            }
            if (fds[0].revents != 0) reap(signals);
            if (fds[2].revents != 0) receive();
            if (fds[1].revents != 0) accept();
            if (fds[3].revents != 0) sudo_.knock(boot_time_ns());
        }
    }

private:
    static std::uint64_t sooner(std::uint64_t a, std::uint64_t b) { return a == 0 || (b != 0 && b < a) ? b : a; }

    static int milliseconds_to(std::uint64_t at) {
        if (at == 0) return -1;
        const std::uint64_t now = boot_time_ns();
        if (at <= now) return 0;
        const std::uint64_t left = (at - now + 999'999U) / 1'000'000U;
        return left > 60'000 ? 60'000 : static_cast<int>(left);
    }

    // ---- children ------------------------------------------------------------------------------------------

    nfds_t wait_for_execs(pollfd* fds) {
        nfds_t count = 0;
        for (std::uint32_t i = 0; i < agent::kMaxExecs; ++i) {
            ExecSlot& slot = execs_.slots()[i];
            if (!slot.used || (!slot.starting && slot.listener < 0)) continue;
            waiting_[count] = &slot;
            fds[count++] = {slot.starting ? slot.status : slot.listener, POLLIN, 0};
        }
        return count;
    }

    void exec_ready(ExecSlot& slot, short events) {
        if (slot.starting) return settle(slot);
        if ((events & POLLIN) == 0) return execs_.close_listener(slot);  // nobody is left to be refused anything
        if (execs_.serve_refusal(slot)) send_refusals(slot);
    }

    void send_refusals(const ExecSlot& slot) {
        const agent::ExecRefusals* refusals = execs_.refusals(slot);
        if (refusals == nullptr || slot.forgotten) return;
        agent::ExecRefusals told = *refusals;
        told.exec = slot.state.exec;
        send(Type::exec_refusals, 0, told);
    }

    // Tells whoever asked. When that connection is gone, the next one learns of a success as of any exec that is held.
    void settle(ExecSlot& slot) {
        if (!slot.used || !slot.starting) return;
        Failure failed;
        const Execs::Start how = execs_.settle(slot, failed);
        if (how == Execs::Start::pending) return;
        const bool same = slot.connection == connection_number_;
        if (how == Execs::Start::failed) {
            if (same) send(Type::error, slot.request, failed);
            return execs_.sweep_leaves();
        }
        if (!same) return send(Type::exec_state, 0, slot.state, slot.fds, slot.fd_count);
        agent::ExecStarted started;
        started.exec = slot.state.exec;
        started.pid = slot.state.pid;
        send(Type::exec_started, slot.request, started, slot.fds, slot.fd_count);
    }

    void reap(int signals) {
        signalfd_siginfo info;
        while (::read(signals, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
        }
        int status = 0;
        for (pid_t pid = ::waitpid(-1, &status, WNOHANG); pid > 0; pid = ::waitpid(-1, &status, WNOHANG)) {
            if (task_ended(pid, status) || sudo_.ended(pid)) continue;
            ExecSlot* slot = execs_.of_process(pid);
            if (slot == nullptr) continue;
            settle(*slot);  // its last word is in the status socket, if it ended before exec
            if (slot->forgotten) continue;
            Execs::record_exit(*slot, status);
            send_refusals(*slot);
            send(Type::exec_exited, 0, slot->state);
        }
        execs_.sweep_leaves();
    }

    bool task_ended(pid_t pid, int status) {
        for (std::uint32_t i = 0; i < agent::kMaxFileTasks; ++i) {
            Task& task = tasks_[i];
            if (task.pid != pid) continue;
            task.pid = 0;
            // No request may be left without an answer, whatever ended its task.
            const bool alarmed = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
            if (answered_[i] == 0 && task.connection == connection_number_) refuse(task.request, alarmed ? ETIMEDOUT : EIO, Step::path);
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
        ++connection_number_;
        // Room for the states of every exec and their descriptors; the kernel cuts it at net.core.wmem_max.
        const int bytes = 1 << 20;
        (void)::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    }

    void hang_up() {
        if (connection_ >= 0) ::close(connection_);
        connection_ = -1;
        greeted_ = false;
    }

    // Never waits for the API. One that does not read is hung up on: an event that was dropped on an open connection
    // would be lost, while everything is told again after the next hello.
    template <class Body>
    void send(Type type, std::uint32_t request, const Body& body, const int* fds = nullptr, std::size_t count = 0) {
        if (connection_ < 0 || (!greeted_ && type != Type::error)) return;
        const std::size_t size = agent::encode(g_out, sizeof g_out, type, request, body);
        if (size == 0) return;
        if (!send_with_fds(connection_, g_out, size, fds, count, MSG_DONTWAIT)) hang_up();
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
            if (!slot.used || slot.forgotten || slot.starting) continue;
            send(Type::exec_state, request, slot.state, slot.fds, slot.fd_count);
            send_refusals(slot);
        }
        send(Type::sync_done, request, agent::Empty{});
    }

    void exec(std::uint32_t request, wire::Reader& reader, int fd) {
        agent::Exec body;
        if (!agent::decode_body(reader, body) || ((body.flags & agent::kWithFiles) != 0) != (fd >= 0)) {
            return refuse(request, EBADMSG, Step::request);
        }
        const Failure failed = execs_.start(body, fd, request, connection_number_);
        if (failed.error != 0) send(Type::error, request, failed);
    }

    void file_task(const Header& header, wire::Reader& reader) {
        std::uint32_t place = 0;
        while (place < agent::kMaxFileTasks && tasks_[place].pid != 0) ++place;
        if (place == agent::kMaxFileTasks) return refuse(header.request, EAGAIN, Step::busy);
        answered_[place] = 0;
        TaskReply reply;
        reply.connection = connection_;
        reply.request = header.request;
        reply.answered = &answered_[place];
        pid_t child = -1;
        if (header.type == Type::connect_port) {
            agent::ConnectPort body;
            if (!agent::decode_body(reader, body)) return refuse(header.request, EBADMSG, Step::request);
            child = start_connect_task(jail_, reply, body.port);
        } else {
            child = start_file_task(jail_, reply, header.type, reader);
        }
        if (child < 0) return refuse(header.request, errno, Step::fork);
        tasks_[place] = {child, header.request, connection_number_};
    }

    JailState& jail_;
    Execs execs_;
    SudoDoor sudo_;
    int connection_ = -1;
    std::uint32_t connection_number_ = 0;
    bool greeted_ = false;
    static constexpr nfds_t kFixedWaits = 4;
    pollfd waits_[kFixedWaits + agent::kMaxExecs] = {};
    ExecSlot* waiting_[agent::kMaxExecs] = {};
    struct Task {
        pid_t pid = 0;
        std::uint32_t request = 0;
        std::uint32_t connection = 0;
    };
    Task tasks_[agent::kMaxFileTasks] = {};
    std::uint8_t* answered_ = nullptr;  // one byte per task, shared with it
};

}  // namespace

extern "C" const char __executable_start;  // the linker's
extern "C" const char __etext;

// The set-up is over and its code will not run again: the pages leave this process (they stay in the page cache, shared
// by all jails) and the loop brings back what it uses.
static void drop_code() {
    constexpr std::uintptr_t kPage = 4096;
    const auto start = reinterpret_cast<std::uintptr_t>(&__executable_start) & ~(kPage - 1);
    const auto end = (reinterpret_cast<std::uintptr_t>(&__etext) + kPage - 1) & ~(kPage - 1);
    (void)::madvise(reinterpret_cast<void*>(start), end - start, MADV_DONTNEED);  // only a saving
}

void run_agent(JailState& jail) {
    drop_code();
    static Agent agent{jail};
    agent.run();
}

}  // namespace sandboxd::init
