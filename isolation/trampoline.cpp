#include "isolation/trampoline.hpp"

#include <linux/close_range.h>
#include <linux/fcntl.h>
#include <linux/sched.h>
#include <linux/unistd.h>

namespace sandboxd::isolation {

namespace {

// Raw: libc's wrapper keeps errno in thread-local storage and may be instrumented.
[[gnu::always_inline]] inline long call(long number, long a = 0, long b = 0, long c = 0, long d = 0,
                                        long e = 0) noexcept {
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
#else
#error "the trampoline has no system call sequence for this architecture"
#endif
}

inline long address(const void* pointer) noexcept {
    return reinterpret_cast<long>(pointer);
}

constexpr int kSocket = 3;
constexpr int kBinary = 4;
constexpr int kNamespaceRoot = 5;
constexpr int kTasks = 6;

constexpr long kInterrupted = -4;  // -EINTR

void tell(TrampolineStep step, long error) noexcept {
    const TrampolineReport report{kTrampolineMagic, step, static_cast<int>(error)};
    (void)call(__NR_write, kSocket, address(&report), sizeof report);
}

[[noreturn]] void leave(TrampolineStep step, long result) noexcept {
    tell(step, -result);
    for (;;) (void)call(__NR_exit_group, 125);
}

// dup3 can't fail for want of anything here: the sources are open and no target equals a source.
long place_descriptors(const TrampolinePlan& plan) noexcept {
    long rc = call(__NR_dup3, plan.socket, kSocket, 0);
    for (int target = 0; target < 3 && rc >= 0; ++target)
        rc = call(__NR_dup3, plan.null_device, target, 0);
    if (rc >= 0) rc = call(__NR_dup3, plan.init_binary, kBinary, O_CLOEXEC);
    if (rc >= 0) rc = call(__NR_dup3, plan.namespace_root, kNamespaceRoot, O_CLOEXEC);
    int target = kTasks;
    for (int i = 0; i < plan.task_count && rc >= 0; ++i)
        rc = call(__NR_dup3, plan.tasks[i], target++, O_CLOEXEC);
    for (int i = 0; i < plan.above_count && rc >= 0; ++i)
        rc = call(__NR_dup3, plan.above[i], target++, O_CLOEXEC);
    if (rc < 0) return rc;
    // Closed at once, not at the exec: among them is the daemon's end of our socket, which would
    // keep read() from seeing that the daemon died, and those of other jails that are being
    // launched.
    return call(__NR_close_range, target, ~0U, 0);
}

long enter_groups(int first, int count) noexcept {
    for (int i = 0; i < count; ++i) {
        long rc = 0;
        do {
            rc = call(__NR_write, first + i, address("0"), 1);
        } while (rc == kInterrupted);
        if (rc < 0) return rc;
    }
    return 0;
}

// Shares our memory, descriptors and stack, and we wait until it is gone: it must not return into
// our frame.
[[noreturn, gnu::noinline]] void make_namespace(const TrampolinePlan& plan,
                                                volatile long& result) noexcept {
    long rc = enter_groups(kTasks + plan.task_count, plan.above_count);
    if (rc >= 0) rc = call(__NR_unshare, CLONE_NEWCGROUP);
    if (rc >= 0)
        rc = call(__NR_openat, AT_FDCWD, address("/proc/self/ns/cgroup"), O_RDONLY | O_CLOEXEC);
    result = rc;
    for (;;) (void)call(__NR_exit, 0);
}

// A cgroup namespace has its root where the one who makes it stands. That is to be the sandbox's
// own folder, which we are not in, and going there and back would be two moves with a lock that
// waits for an RCU grace period. Being born somewhere takes no such lock: so a process is, goes up
// in the v1 hierarchies too, makes the namespace for us, and is gone.
long enter_cgroup_namespace(const TrampolinePlan& plan) noexcept {
    volatile long namespace_fd = -1;
    clone_args args{};
    args.flags = CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_INTO_CGROUP;
    args.cgroup = kNamespaceRoot;
    const long pid = call(__NR_clone3, address(&args), sizeof args);
    if (pid == 0) make_namespace(plan, namespace_fd);
    if (pid < 0) return pid;
    long rc = 0;
    do {
        rc = call(__NR_wait4, pid, 0, static_cast<long>(0x40000000) /* __WALL */);
    } while (rc == kInterrupted);
    if (rc < 0) return rc;
    if (namespace_fd < 0) return namespace_fd;
    rc = call(__NR_setns, namespace_fd, CLONE_NEWCGROUP);
    (void)call(__NR_close, namespace_fd);
    return rc;
}

long set_ids() noexcept {
    // groups before gid before uid: each needs the capability that the next may take.
    long rc = call(__NR_setgroups, 0, 0);
    if (rc >= 0) rc = call(__NR_setresgid, 0, 0, 0);
    if (rc >= 0) rc = call(__NR_setresuid, 0, 0, 0);
    // A session of its own: what a terminal sends the daemon's process group is not for jails.
    if (rc >= 0) rc = call(__NR_setsid);
    return rc;
}

}  // namespace

void run_trampoline(const TrampolinePlan& plan) noexcept {
    // The mask is the daemon's thread's; dispositions are the default since CLONE_CLEAR_SIGHAND.
    const unsigned long no_signals = 0;
    (void)call(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, address(&no_signals), 0,
               sizeof no_signals);

    long rc = place_descriptors(plan);
    if (rc < 0) leave(TrampolineStep::descriptors, rc);

    // The parent writes the id maps before it says go; without them the ids below can't be set.
    char go = 0;
    do {
        rc = call(__NR_read, kSocket, address(&go), 1);
    } while (rc == kInterrupted);
    if (rc != 1) leave(TrampolineStep::wait_for_go, rc);  // hung up: the daemon is gone

    rc = enter_groups(kTasks, plan.task_count);
    if (rc < 0) leave(TrampolineStep::enter_cgroups, rc);
    rc = enter_cgroup_namespace(plan);
    if (rc < 0) leave(TrampolineStep::cgroup_namespace, rc);

    // Without being uid 0 of the namespace the exec would drop every capability.
    rc = set_ids();
    if (rc < 0) leave(TrampolineStep::set_ids, rc);

    rc = call(__NR_close_range, kBinary, ~0U, CLOSE_RANGE_CLOEXEC);
    if (rc < 0) leave(TrampolineStep::descriptors, rc);
    tell(TrampolineStep::none, 0);
    const char* const argv[] = {"sandbox-init", nullptr};
    const char* const envp[] = {nullptr};
    rc = call(__NR_execveat, kBinary, address(""), address(argv), address(envp), AT_EMPTY_PATH);
    leave(TrampolineStep::exec, rc);
}

}  // namespace sandboxd::isolation
