#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "isolation/init/exec.hpp"
#include "isolation/init/exec_child.hpp"
#include "isolation/init/kernel.hpp"

namespace sandboxd::init {

using agent::Failure;
using agent::Step;

// Pipes between the program and the API: `ours` is handed on (reads of output, write of input), `theirs` is the child's.
struct Channels {
    int ours[3] = {-1, -1, -1};
    std::size_t count = 0;
    int theirs[3] = {-1, -1, -1};
    ~Channels() {
        for (const int fd : ours) {
            if (fd >= 0) ::close(fd);
        }
        for (const int fd : theirs) {
            if (fd >= 0) ::close(fd);
        }
    }
};

namespace {

constexpr int kPipeBytes = 256 * 1024;
// From fork to exec. Files may have to be written on the way, on a busy machine at its limits.
constexpr std::uint64_t kStartLimitNs = 30'000'000'000U;
constexpr std::uint64_t kMaxTimeoutMs = 1'000'000'000'000U;  // 31 years: keeps the sum below from wrapping

Failure failure(Step step, int error) {
    Failure out;
    out.step = step;
    out.error = error;
    return out;
}

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

// What the child has said so far. True: it will say no more (it has exec'd, failed or died).
bool read_status(ExecSlot& slot, Failure& reported) {
    for (;;) {
        std::byte buffer[32];
        Incoming in = receive_with_fds(slot.status, buffer, sizeof buffer, MSG_DONTWAIT);
        if (in.size < 0 && errno == EAGAIN) return false;
        if (in.size <= 0) return true;
        const int handed = in.size == 1 && in.fd_count == 1 ? in.fds[0] : -1;
        if (handed >= 0 && static_cast<Handover>(buffer[0]) == Handover::terminal && (slot.state.flags & agent::kPty) != 0 && slot.fds[0] < 0) {
            slot.fds[0] = handed;
            continue;
        }
        if (handed >= 0 && static_cast<Handover>(buffer[0]) == Handover::listener && slot.listener < 0) {
            slot.listener = handed;
            continue;
        }
        for (std::size_t i = 0; i < in.fd_count; ++i) ::close(in.fds[i]);
        wire::Reader reader{buffer, static_cast<std::size_t>(in.size)};
        if (!reader(reported) || reported.error == 0) reported = failure(Step::fork, EBADMSG);
        return true;
    }
}

}  // namespace

pid_t Execs::fork_into_leaf(const agent::Exec& request, const Channels& channels, int files, int status) {
    Text<32> name;
    name.add("e").add(request.exec);
    const int leaf = ::openat(jail_.leaf_unified, name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (leaf < 0) return -1;
    clone_args args{};
    args.flags = CLONE_INTO_CGROUP | CLONE_CLEAR_SIGHAND;
    args.exit_signal = SIGCHLD;
    args.cgroup = static_cast<std::uint64_t>(leaf);
    auto child = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
    // cgroup2 lets nobody be born in a group that is at its limit of processes, but lets one move there, as v1 does. A
    // bomb's sandbox is looked at and cleaned up by programs; and right after a kill the dead still count.
    const bool moves = child < 0 && errno == EAGAIN;
    if (moves) {
        args.flags = CLONE_CLEAR_SIGHAND;
        args.cgroup = 0;
        child = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
    }
    if (child == 0) {
        ChildSpec spec;
        spec.enter_leaf = moves ? leaf : -1;
        spec.request = &request;
        ::memcpy(spec.stdio, channels.theirs, sizeof spec.stdio);
        spec.files = files;
        spec.status = status;
        run_child(jail_, spec);
    }
    const int saved = errno;
    ::close(leaf);
    errno = saved;
    return child;
}

Failure Execs::start(const agent::Exec& request, int files, std::uint32_t number, std::uint32_t connection) {
    if (request.uid >= isolation::kWorkloadIds || request.gid >= isolation::kWorkloadIds) return failure(Step::ids, EINVAL);
    if (request.uid == 0 && !jail_.plan.allow_root) return failure(Step::ids, EPERM);
    if (find(request.exec) != nullptr) return failure(Step::request, EEXIST);
    ExecSlot* slot = free_slot();
    if (slot == nullptr) return failure(Step::busy, EAGAIN);

    Channels channels;
    if (!make_channels(request.flags, channels)) return failure(Step::pipe, errno);
    int status[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, status) != 0) return failure(Step::pipe, errno);
    Failure failed;
    pid_t child = -1;
    if (!make_leaf(request.exec)) {
        failed = failure(Step::cgroup, errno);
    } else if ((child = fork_into_leaf(request, channels, files, status[1])) < 0) {
        failed = failure(Step::fork, errno);
    }
    ::close(status[1]);
    if (failed.error != 0) {
        ::close(status[0]);
        if (failed.error != EEXIST) (void)remove_leaf(request.exec);  // EEXIST: a forgotten exec's, still in use
        return failed;
    }

    *slot = ExecSlot{};
    refusals_.clear(place(*slot));
    slot->used = true;
    slot->starting = true;
    slot->status = status[0];
    slot->request = number;
    slot->connection = connection;
    slot->state.exec = request.exec;
    slot->state.pid = child;
    slot->state.flags = request.flags;
    slot->state.started_ns = boot_time_ns();
    slot->start_by_ns = slot->state.started_ns + kStartLimitNs;
    slot->fd_count = channels.count;
    ::memcpy(slot->fds, channels.ours, sizeof slot->fds);
    for (int& fd : channels.ours) fd = -1;
    const std::uint64_t timeout_ms = request.timeout_ms < kMaxTimeoutMs ? request.timeout_ms : kMaxTimeoutMs;
    if (timeout_ms != 0) slot->deadline_ns = slot->state.started_ns + timeout_ms * 1'000'000U;
    slot->kill_grace_ms = request.kill_grace_ms;
    return {};
}

Execs::Start Execs::settle(ExecSlot& slot, Failure& reported) {
    if (!read_status(slot, reported)) return Start::pending;
    // Hanging up without a word is what exec does, and what a child does that was killed on the way.
    if (reported.error == 0 && slot.start_expired) reported = failure(Step::fork, ETIMEDOUT);
    const bool no_terminal = (slot.state.flags & agent::kPty) != 0 && slot.fds[0] < 0;
    if (reported.error == 0 && no_terminal) reported = failure(Step::pty, ECANCELED);
    ::close(slot.status);
    slot.status = -1;
    slot.starting = false;
    slot.start_by_ns = 0;
    if (reported.error == 0) return Start::started;
    slot.deadline_ns = slot.kill_at_ns = 0;
    close_listener(slot);
    for (int& fd : slot.fds) {
        if (fd >= 0) ::close(fd);
        fd = -1;
    }
    slot.forgotten = true;
    leaves_to_sweep_ = true;
    return Start::failed;
}

}  // namespace sandboxd::init
