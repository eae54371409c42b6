#include "isolation/init/sudo.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "isolation/init/exec_child.hpp"
#include "isolation/init/kernel.hpp"
#include "isolation/init/refusals.hpp"
#include "isolation/init/sudo_protocol.hpp"

namespace sandboxd::init {

namespace {

constexpr int kRequestSeconds = 10;
constexpr std::uint32_t kRoot = 0;

std::byte g_request[kMaxSudoMessage];

// One connection's helper: a process with PID 1's id and group, whose end harms nobody.
class Helper {
public:
    Helper(const JailState& jail, int connection) : jail_{jail}, connection_{connection} {}

    [[noreturn]] void serve() {
        const Incoming in = receive_with_fds(connection_, g_request, sizeof g_request, 0);
        if (in.size <= 0) ::_exit(0);
        wire::Reader reader{g_request, static_cast<std::size_t>(in.size)};
        SudoRequest request;
        if (!reader(request) || !reader.done() || request.magic != kSudoMagic || in.fd_count != 3) finish({SudoAnswer::failed, EBADMSG, false, 0});
        if (!may_ask(request)) finish({SudoAnswer::refused, EPERM, false, 0});
        if (request.only_ask) finish({SudoAnswer::started, 0, false, 0});
        start(request, in.fds);
        await();
    }

private:
    void tell(const SudoReply& reply) const {
        std::byte buffer[32];
        wire::Writer writer{buffer, sizeof buffer};
        if (writer(reply)) (void)send_with_fds(connection_, buffer, writer.size(), nullptr, 0, MSG_DONTWAIT);
    }
    [[noreturn]] void finish(const SudoReply& reply) const {
        tell(reply);
        ::_exit(0);
    }

    // Root may become anybody already; of the others only the sandbox's user.
    [[nodiscard]] bool may_ask(const SudoRequest& request) {
        ucred peer{};
        socklen_t size = sizeof peer;
        if (::getsockopt(connection_, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid <= 1) return false;
        if (peer.uid != isolation::kUserId && peer.uid != kRoot) return false;
        if (!jail_.plan.allow_root || request.uid >= isolation::kWorkloadIds || request.gid >= isolation::kWorkloadIds) return false;
        return find_exec(peer.pid);
    }

    // The exec that the asking process belongs to, by its control group: what it starts counts, and ends, with that one.
    // A pid that was reused meanwhile is another process of the same jail.
    [[nodiscard]] bool find_exec(pid_t pid) {
        Text<32> path;
        path.add("/proc/").add(static_cast<std::uint64_t>(pid)).add("/cgroup");
        const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0) return false;
        char buffer[2048];
        const ssize_t n = ::read(fd, buffer, sizeof buffer);
        ::close(fd);
        if (n <= 0) return false;
        const std::string_view text{buffer, static_cast<std::size_t>(n)};
        constexpr std::string_view kBefore = "0::/work/e";
        const std::size_t at = text.find(kBefore);
        if (at == std::string_view::npos || (at != 0 && text[at - 1] != '\n')) return false;
        std::size_t i = at + kBefore.size();
        const std::size_t digits = i;
        for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) exec_ = exec_ * 10 + static_cast<std::uint64_t>(text[i] - '0');
        return i > digits && i - digits < 20;
    }

    void start(const SudoRequest& request, const int* stdio) {
        int status[2];
        if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, status) != 0) finish({SudoAnswer::failed, errno, false, 0});
        agent::Exec exec;
        exec.exec = exec_;
        exec.uid = request.uid;
        exec.gid = request.gid;
        exec.cwd = request.cwd;
        exec.argv = request.argv;
        exec.env = request.env;
        ChildSpec spec;
        spec.request = &exec;
        for (int i = 0; i < 3; ++i) spec.stdio[i] = stdio[i];
        spec.status = status[1];
        spec.terminal = request.terminal < 3 ? request.terminal : -1;
        fork_into_leaf(spec);
        ::close(status[1]);
        for (int i = 0; i < 3; ++i) ::close(stdio[i]);
        check_start(status[0]);
    }

    void fork_into_leaf(const ChildSpec& spec) {
        Text<32> name;
        name.add("e").add(exec_);
        const int leaf = ::openat(jail_.leaf_unified, name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (leaf < 0) finish({SudoAnswer::failed, errno, false, 0});
        clone_args args{};
        args.flags = CLONE_INTO_CGROUP | CLONE_CLEAR_SIGHAND | CLONE_PIDFD;
        args.exit_signal = SIGCHLD;
        args.cgroup = static_cast<std::uint64_t>(leaf);
        args.pidfd = reinterpret_cast<std::uint64_t>(&pidfd_);
        command_ = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
        if (command_ == 0) run_child(jail_, spec);
        if (command_ < 0) finish({SudoAnswer::failed, errno, false, 0});
        ::close(leaf);
    }

    // The status socket hangs up at exec; before that it hands over the filters' listener, or says what failed.
    void check_start(int status) {
        std::byte buffer[32];
        Incoming said = receive_with_fds(status, buffer, sizeof buffer, 0);
        if (said.size == 1 && said.fd_count == 1 && static_cast<Handover>(buffer[0]) == Handover::listener) {
            listener_ = said.fds[0];
            said = receive_with_fds(status, buffer, sizeof buffer, 0);
        }
        ::close(status);
        if (said.size <= 0) return tell({SudoAnswer::started, 0, false, 0});
        wire::Reader reader{buffer, static_cast<std::size_t>(said.size)};
        agent::Failure failure;
        if (!reader(failure)) failure.error = EBADMSG;
        finish({SudoAnswer::failed, failure.error, failure.step == agent::Step::exec, 0});
    }

    [[noreturn]] void await() {
        for (;;) {
            pollfd waits[] = {{pidfd_, POLLIN, 0}, {connection_, POLLIN, 0}, {listener_, POLLIN, 0}};
            if (::poll(waits, 3, -1) < 0) continue;
            if (waits[0].revents != 0) report_end();
            if (waits[1].revents != 0) forward();
            if (waits[2].revents != 0) refuse();
        }
    }

    [[noreturn]] void report_end() {
        int status = 0;
        if (::waitpid(command_, &status, 0) != command_) finish({SudoAnswer::failed, ECHILD, false, 0});
        if (WIFSIGNALED(status)) finish({SudoAnswer::signaled, 0, false, WTERMSIG(status)});
        finish({SudoAnswer::exited, 0, false, WEXITSTATUS(status)});
    }

    // Answers as PID 1 does for the exec's own programs. Not counted: what root was refused is not in the exec's denials.
    void refuse() {
        if (refusals_.serve(listener_, 0, jail_.plan.seccomp_refusals) != Refusals::Served::hung_up) return;
        ::close(listener_);
        listener_ = -1;
    }

    void forward() {
        std::byte buffer[16];
        const Incoming in = receive_with_fds(connection_, buffer, sizeof buffer, MSG_DONTWAIT);
        if (in.size < 0 && errno == EAGAIN) return;
        wire::Reader reader{buffer, static_cast<std::size_t>(in.size > 0 ? in.size : 0)};
        SudoSignal message;
        if (in.size <= 0 || in.fd_count > 0 || !reader(message) || !reader.done()) {
            // Nobody waits any more. As with a terminal that is gone; the command's end is PID 1's to see.
            (void)::kill(-command_, SIGHUP);
            (void)::kill(-command_, SIGCONT);
            ::_exit(0);
        }
        if (message.signal > 0 && message.signal <= SIGRTMAX) (void)::kill(-command_, message.signal);
    }

    const JailState& jail_;
    int connection_;
    std::uint64_t exec_ = 0;
    pid_t command_ = -1;
    int pidfd_ = -1;
    int listener_ = -1;
    Refusals refusals_;
};

// Before the first byte of the stranger's: of PID 1's descriptors only those that starting a command takes. The others
// are the ends of pipes, which an exec's reader or writer waits for.
[[noreturn]] void help(const JailState& jail) {
    int keep[6 + kMaxJoin] = {jail.sudo_listener, jail.leaf_unified, jail.leaf_memory, jail.leaf_cpuacct, jail.workload_userns, -1};
    for (std::size_t i = 0; i < jail.join_count; ++i) keep[6 + i] = jail.join_procs[i];
    for (std::size_t i = jail.join_count; i < kMaxJoin; ++i) keep[6 + i] = -1;
    if (!close_all_except(keep, 6 + kMaxJoin)) ::_exit(1);
    const int connection = ::accept4(jail.sudo_listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) ::_exit(0);
    const timeval patience{kRequestSeconds, 0};
    (void)::setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    Helper{jail, connection}.serve();
}

}  // namespace

int SudoDoor::listener(std::uint64_t now_ns) {
    again_at_ns_ = 0;
    if (jail_.sudo_listener < 0) return -1;
    bool room = false;
    for (const pid_t pid : helpers_) room = room || pid == 0;
    if (!room) return -1;
    if (free_at_ns_ > now_ns + kBurst * kNsPerStart) {
        again_at_ns_ = free_at_ns_ - kBurst * kNsPerStart;
        return -1;
    }
    return jail_.sudo_listener;
}

void SudoDoor::knock(std::uint64_t now_ns) {
    free_at_ns_ = (free_at_ns_ > now_ns ? free_at_ns_ : now_ns) + kNsPerStart;
    for (pid_t& slot : helpers_) {
        if (slot != 0) continue;
        const pid_t child = ::fork();
        if (child == 0) help(jail_);
        if (child > 0) slot = child;
        return;  // a fork that failed: who knocked is still there, and is tried again at the same pace
    }
}

bool SudoDoor::ended(pid_t pid) {
    for (pid_t& slot : helpers_) {
        if (slot != pid) continue;
        slot = 0;
        return true;
    }
    return false;
}

}  // namespace sandboxd::init
