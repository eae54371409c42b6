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
    for (const ExecSlot& slot : slots_) count += slot.used && !slot.forgotten && !slot.starting ? 1U : 0U;
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

// The ids that a file of a cgroup lists are of the reader's pid namespace. Read in one piece: who forks meanwhile is missed.
template <class Do>
static void for_each_id(int dir, const char* path, Do act) {
    const int list = ::openat(dir, path, O_RDONLY | O_CLOEXEC);
    if (list < 0) return;
    char buffer[8192];
    pid_t id = 0;
    for (;;) {
        const ssize_t n = ::read(list, buffer, sizeof buffer);
        if (n <= 0) break;
        for (ssize_t i = 0; i < n; ++i) {
            if (buffer[i] >= '0' && buffer[i] <= '9') {
                id = id * 10 + (buffer[i] - '0');
            } else {
                if (id > 1) act(id);
                id = 0;
            }
        }
    }
    ::close(list);
}

void Execs::signal_tree(std::uint64_t exec, int signal) {
    auto path = leaf_name(exec);
    const std::size_t base = path.size();
    if (signal == SIGKILL && write_file(jail_.leaf_unified, path.add("/cgroup.kill").c_str(), "1") == 0) return;
    path.cut(base);
    // Whoever is missed is met by the SIGKILL that follows every other signal.
    for_each_id(jail_.leaf_unified, path.add("/cgroup.procs").c_str(), [signal](pid_t pid) { ::kill(pid, signal); });
}

// Only for speed and for what programs count: the quota holds whatever a thread sets for itself.
void Execs::give_cpus(std::uint64_t exec) {
    auto path = leaf_name(exec);
    const cpu_set_t& cpus = jail_.view.cpus;
    for_each_id(jail_.leaf_unified, path.add("/cgroup.threads").c_str(), [&](pid_t id) { (void)::sched_setaffinity(id, sizeof cpus, &cpus); });
}

std::uint64_t Execs::keep_view() {
    std::uint32_t running = 0;
    std::uint32_t last_pid = 1;
    for (const ExecSlot& slot : slots_) {
        if (!slot.used || slot.state.kind != ExitKind::running) continue;
        ++running;
        if (slot.state.pid > static_cast<pid_t>(last_pid)) last_pid = static_cast<std::uint32_t>(slot.state.pid);
    }
    if (running == 0) return 0;
    const std::uint64_t now = boot_time_ns();
    const std::uint64_t due = jail_.view.written_ns + kViewPeriodNs;
    if (now < due) return due;
    if (refresh_view(jail_, now, running, last_pid)) {
        for (const ExecSlot& slot : slots_) {
            if (slot.used) give_cpus(slot.state.exec);
        }
    }
    return now + kViewPeriodNs;
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
        release(*slot);
    } else {
        leaves_to_sweep_ = true;
    }
    return {};
}

void Execs::release(ExecSlot& slot) {
    close_listener(slot);
    slot.used = false;
}

void Execs::close_listener(ExecSlot& slot) {
    if (slot.listener >= 0) ::close(slot.listener);
    slot.listener = -1;
}

bool Execs::serve_refusal(ExecSlot& slot) {
    const Refusals::Served served = refusals_.serve(slot.listener, place(slot), jail_.plan.seccomp_refusals);
    if (served == Refusals::Served::hung_up) close_listener(slot);
    return served == Refusals::Served::new_entry;
}

ExecSlot* Execs::of_process(pid_t pid) {
    for (ExecSlot& slot : slots_) {
        if (slot.used && !slot.forgotten && slot.state.kind == ExitKind::running && slot.state.pid == pid) return &slot;
    }
    return nullptr;
}

void Execs::record_exit(ExecSlot& slot, int wait_status) {
    slot.state.kind = WIFSIGNALED(wait_status) ? ExitKind::signaled : ExitKind::exited;
    slot.state.status = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
    slot.state.ended_ns = boot_time_ns();
    // A program that ended is over its deadline no more; what it left in the background is not bounded by it.
    if (slot.kill_at_ns == 0) slot.deadline_ns = 0;
}

void Execs::sweep_leaves() {
    if (!leaves_to_sweep_) return;
    leaves_to_sweep_ = false;
    for (ExecSlot& slot : slots_) {
        if (!slot.used || !slot.forgotten) continue;
        if (remove_leaf(slot.state.exec)) {
            release(slot);
        } else {
            leaves_to_sweep_ = true;
        }
    }
}

std::uint64_t Execs::enforce_deadlines() {
    std::uint64_t next = 0;
    const std::uint64_t now = boot_time_ns();
    for (ExecSlot& slot : slots_) {
        if (!slot.used) continue;
        enforce(slot, now);
        for (const std::uint64_t at : {slot.deadline_ns, slot.kill_at_ns, slot.start_by_ns}) {
            if (at != 0 && (next == 0 || at < next)) next = at;
        }
    }
    return next;
}

void Execs::enforce(ExecSlot& slot, std::uint64_t now) {
    if (slot.start_by_ns != 0 && now >= slot.start_by_ns) {
        slot.start_by_ns = 0;
        slot.start_expired = true;  // settle tells, once the child is gone
        signal_tree(slot.state.exec, SIGKILL);
    }
    if (slot.kill_at_ns != 0 && now >= slot.kill_at_ns) {
        // Also when the program itself ended at SIGTERM and was forgotten: what it started may have ignored that.
        slot.kill_at_ns = 0;
        signal_tree(slot.state.exec, SIGKILL);
    } else if (slot.deadline_ns != 0 && now >= slot.deadline_ns && slot.state.kind == ExitKind::running) {
        slot.deadline_ns = 0;
        slot.state.timed_out = true;
        const bool at_once = (slot.state.flags & agent::kTimeoutKills) != 0 || slot.kill_grace_ms == 0;
        signal_tree(slot.state.exec, at_once ? SIGKILL : SIGTERM);
        if (!at_once) slot.kill_at_ns = now + std::uint64_t{slot.kill_grace_ms} * 1'000'000U;
    }
}

}  // namespace sandboxd::init
