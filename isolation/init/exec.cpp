#include "isolation/init/exec.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "isolation/init/exec_child.hpp"
#include "isolation/init/kernel.hpp"

namespace sandboxd::init {

using agent::ExitKind;
using agent::Failure;
using agent::Step;

namespace {

constexpr int kPipeBytes = 256 * 1024;

Failure failure(Step step, int error) {
    Failure out;
    out.step = step;
    out.error = error;
    return out;
}

void close_all(int* fds, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        if (fds[i] >= 0) ::close(fds[i]);
        fds[i] = -1;
    }
}

Text<32> leaf_name(std::uint64_t exec) {
    Text<32> name;
    name.add("e").add(exec);
    return name;
}

// Pipes between the program and the API: `ours` is handed on (reads of output, write of input), `theirs` is the child's.
struct Channels {
    int ours[3] = {-1, -1, -1};
    std::size_t count = 0;
    int theirs[3] = {-1, -1, -1};
    ~Channels() {
        close_all(ours, 3);
        close_all(theirs, 3);
    }
};

bool make_pipe(int& read_end, int& write_end) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return false;
    read_end = ends[0];
    write_end = ends[1];
    // Fewer wake-ups under load. Beyond the per-user allowance the kernel refuses: the default then stays.
    (void)::fcntl(ends[1], F_SETPIPE_SZ, kPipeBytes);
    return true;
}

// Only our ends are non-blocking: for a pipe that is a property of each end's open file, so the program sees none of it.
bool set_nonblocking(int fd) { return ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) == 0; }

bool make_channels(std::uint32_t flags, Channels& channels) {
    if ((flags & agent::kPty) != 0) {
        // Only the relay; the terminal comes from the child.
        channels.count = 3;
        return make_pipe(channels.ours[1], channels.ours[2]) && set_nonblocking(channels.ours[1]) && set_nonblocking(channels.ours[2]);
    }
    if (!make_pipe(channels.ours[0], channels.theirs[1]) || !make_pipe(channels.ours[1], channels.theirs[2])) return false;
    if (!set_nonblocking(channels.ours[0]) || !set_nonblocking(channels.ours[1])) return false;
    channels.count = 2;
    if ((flags & agent::kStdin) != 0) {
        channels.count = 3;
        return make_pipe(channels.theirs[0], channels.ours[2]) && set_nonblocking(channels.ours[2]);
    }
    channels.theirs[0] = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    return channels.theirs[0] >= 0;
}

// Waits for the child's exec: the status socket hangs up. Before that a terminal's master or a failure may come.
Failure await_exec(int status, int& master) {
    for (;;) {
        std::byte buffer[32];
        Incoming in = receive_with_fds(status, buffer, sizeof buffer, 0);
        if (in.size == 0) return {};
        if (in.size < 0) return failure(Step::fork, errno);
        if (in.fd_count == 1 && master < 0) {
            master = in.fds[0];
            continue;
        }
        for (std::size_t i = 0; i < in.fd_count; ++i) ::close(in.fds[i]);
        Failure reported;
        wire::Reader reader{buffer, static_cast<std::size_t>(in.size)};
        if (!reader(reported)) return failure(Step::fork, EBADMSG);
        return reported;
    }
}

}  // namespace

ExecSlot* Execs::find(std::uint64_t exec) {
    for (ExecSlot& slot : slots_) {
        if (slot.used && !slot.forgotten && slot.state.exec == exec) return &slot;
    }
    return nullptr;
}

ExecSlot* Execs::free_slot() {
    for (ExecSlot& slot : slots_) {
        if (!slot.used) return &slot;
    }
    return nullptr;
}

std::uint32_t Execs::held() const {
    std::uint32_t count = 0;
    for (const ExecSlot& slot : slots_) count += slot.used && !slot.forgotten ? 1U : 0U;
    return count;
}

bool Execs::make_leaf(std::uint64_t exec) {
    const auto name = leaf_name(exec);
    for (const int dir : {jail_.leaf_unified, jail_.leaf_memory, jail_.leaf_cpuacct}) {
        if (dir >= 0 && ::mkdirat(dir, name.c_str(), 0755) != 0) return false;
    }
    return true;
}

bool Execs::remove_leaf(std::uint64_t exec) {
    const auto name = leaf_name(exec);
    bool gone = true;
    for (const int dir : {jail_.leaf_unified, jail_.leaf_memory, jail_.leaf_cpuacct}) {
        if (dir >= 0 && ::unlinkat(dir, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) gone = false;
    }
    return gone;
}

Failure Execs::start(const agent::Exec& request, int files, ExecSlot*& out) {
    if (request.uid >= isolation::kWorkloadIds || request.gid >= isolation::kWorkloadIds) return failure(Step::ids, EINVAL);
    if (request.uid == 0 && !jail_.plan.allow_root) return failure(Step::ids, EPERM);
    if (find(request.exec) != nullptr) return failure(Step::request, EEXIST);
    ExecSlot* slot = free_slot();
    if (slot == nullptr) return failure(Step::busy, EAGAIN);

    Channels channels;
    int status[2];
    if (!make_channels(request.flags, channels)) return failure(Step::pipe, errno);
    if (!make_leaf(request.exec)) {
        const int error = errno;
        (void)remove_leaf(request.exec);
        return failure(Step::cgroup, error);
    }
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, status) != 0) return failure(Step::pipe, errno);
    const auto name = leaf_name(request.exec);
    const int leaf = ::openat(jail_.leaf_unified, name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);

    clone_args args{};
    args.flags = CLONE_INTO_CGROUP | CLONE_CLEAR_SIGHAND;
    args.exit_signal = SIGCHLD;
    args.cgroup = static_cast<std::uint64_t>(leaf);
    const auto child = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
    if (child == 0) {
        ChildSpec spec;
        spec.request = &request;
        ::memcpy(spec.stdio, channels.theirs, sizeof spec.stdio);
        spec.files = files;
        spec.status = status[1];
        run_child(jail_, spec);
    }
    const int clone_error = errno;
    ::close(leaf);
    ::close(status[1]);
    int master = -1;
    const Failure failed = child < 0 ? failure(Step::fork, clone_error) : await_exec(status[0], master);
    ::close(status[0]);
    if (failed.error != 0) {
        if (child > 0) ::waitpid(child, nullptr, 0);
        if (master >= 0) ::close(master);
        (void)remove_leaf(request.exec);
        return failed;
    }
    if ((request.flags & agent::kPty) != 0) channels.ours[0] = master;

    *slot = ExecSlot{};
    slot->used = true;
    slot->state.exec = request.exec;
    slot->state.pid = child;
    slot->state.flags = request.flags;
    slot->state.started_ns = boot_time_ns();
    slot->fd_count = channels.count;
    ::memcpy(slot->fds, channels.ours, sizeof slot->fds);
    for (int& fd : channels.ours) fd = -1;
    if (request.timeout_ms != 0) slot->deadline_ns = slot->state.started_ns + request.timeout_ms * 1'000'000U;
    slot->kill_grace_ms = request.kill_grace_ms;
    out = slot;
    return {};
}

void Execs::signal_tree(std::uint64_t exec, int signal) {
    auto path = leaf_name(exec);
    const std::size_t base = path.size();
    if (signal == SIGKILL && write_file(jail_.leaf_unified, path.add("/cgroup.kill").c_str(), "1") == 0) return;
    path.cut(base);
    // cgroup.procs shows pids of the reader's pid namespace. Read in one piece: whoever forks meanwhile is met by the
    // SIGKILL that follows every other signal.
    const int procs = ::openat(jail_.leaf_unified, path.add("/cgroup.procs").c_str(), O_RDONLY | O_CLOEXEC);
    if (procs < 0) return;
    char buffer[8192];
    pid_t pid = 0;
    for (;;) {
        const ssize_t n = ::read(procs, buffer, sizeof buffer);
        if (n <= 0) break;
        for (ssize_t i = 0; i < n; ++i) {
            if (buffer[i] >= '0' && buffer[i] <= '9') {
                pid = pid * 10 + (buffer[i] - '0');
            } else {
                if (pid > 1) ::kill(pid, signal);
                pid = 0;
            }
        }
    }
    ::close(procs);
}

Failure Execs::signal(const agent::Signal& request) {
    ExecSlot* slot = find(request.exec);
    if (slot == nullptr) return failure(Step::request, ESRCH);
    if (request.signal < 0 || request.signal > SIGRTMAX) return failure(Step::request, EINVAL);
    if (request.scope == agent::SignalScope::tree) {
        signal_tree(request.exec, request.signal);
        return {};
    }
    // A pid stays ours until it is reaped, and only this thread reaps.
    if (slot->state.kind != ExitKind::running) return failure(Step::request, ESRCH);
    pid_t target = slot->state.pid;
    if (request.scope == agent::SignalScope::group) {
        pid_t group = slot->state.pid;
        if ((slot->state.flags & agent::kPty) != 0 && ::ioctl(slot->fds[0], TIOCGPGRP, &group) != 0) group = slot->state.pid;
        target = -group;
        if (group <= 1) return failure(Step::request, ESRCH);
    }
    return ::kill(target, request.signal) == 0 ? Failure{} : failure(Step::request, errno);
}

Failure Execs::resize(const agent::Resize& request) {
    ExecSlot* slot = find(request.exec);
    if (slot == nullptr) return failure(Step::request, ESRCH);
    if ((slot->state.flags & agent::kPty) == 0) return failure(Step::request, ENOTTY);
    winsize size{};
    size.ws_row = request.rows;
    size.ws_col = request.cols;
    return ::ioctl(slot->fds[0], TIOCSWINSZ, &size) == 0 ? Failure{} : failure(Step::pty, errno);
}

Failure Execs::close_stdin(std::uint64_t exec) {
    ExecSlot* slot = find(exec);
    if (slot == nullptr) return failure(Step::request, ESRCH);
    if ((slot->state.flags & agent::kPty) != 0) return failure(Step::request, EINVAL);
    if ((slot->state.flags & agent::kStdin) != 0 && slot->fds[2] >= 0) {
        ::close(slot->fds[2]);
        slot->fds[2] = -1;
        slot->fd_count = 2;
        slot->state.flags &= ~static_cast<std::uint32_t>(agent::kStdin);  // what a re-sync tells
    }
    return {};
}

Failure Execs::forget(std::uint64_t exec) {
    ExecSlot* slot = find(exec);
    if (slot == nullptr) return failure(Step::request, ESRCH);
    if (slot->state.kind == ExitKind::running) return failure(Step::request, EBUSY);
    close_all(slot->fds, 3);
    slot->forgotten = true;
    if (remove_leaf(exec)) {
        slot->used = false;
    } else {
        leaves_to_sweep_ = true;
    }
    return {};
}

ExecSlot* Execs::reaped(pid_t pid, int wait_status) {
    for (ExecSlot& slot : slots_) {
        if (!slot.used || slot.state.kind != ExitKind::running || slot.state.pid != pid) continue;
        slot.state.kind = WIFSIGNALED(wait_status) ? ExitKind::signaled : ExitKind::exited;
        slot.state.status = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
        slot.state.ended_ns = boot_time_ns();
        // A program that ended is over its deadline no more; what it left in the background is not bounded by it.
        if (slot.kill_at_ns == 0) slot.deadline_ns = 0;
        return &slot;
    }
    return nullptr;
}

void Execs::sweep_leaves() {
    if (!leaves_to_sweep_) return;
    leaves_to_sweep_ = false;
    for (ExecSlot& slot : slots_) {
        if (!slot.used || !slot.forgotten) continue;
        if (remove_leaf(slot.state.exec)) {
            slot.used = false;
        } else {
            leaves_to_sweep_ = true;
        }
    }
}

std::uint64_t Execs::enforce_deadlines() {
    std::uint64_t next = 0;
    const std::uint64_t now = boot_time_ns();
    for (ExecSlot& slot : slots_) {
        if (!slot.used || slot.forgotten) continue;
        if (slot.kill_at_ns != 0 && now >= slot.kill_at_ns) {
            slot.kill_at_ns = 0;
            signal_tree(slot.state.exec, SIGKILL);
        } else if (slot.deadline_ns != 0 && now >= slot.deadline_ns && slot.state.kind == ExitKind::running) {
            slot.deadline_ns = 0;
            slot.state.timed_out = true;
            const bool at_once = (slot.state.flags & agent::kTimeoutKills) != 0 || slot.kill_grace_ms == 0;
            signal_tree(slot.state.exec, at_once ? SIGKILL : SIGTERM);
            if (!at_once) slot.kill_at_ns = now + std::uint64_t{slot.kill_grace_ms} * 1'000'000U;
        }
        for (const std::uint64_t at : {slot.deadline_ns, slot.kill_at_ns}) {
            if (at != 0 && (next == 0 || at < next)) next = at;
        }
    }
    return next;
}

}  // namespace sandboxd::init
