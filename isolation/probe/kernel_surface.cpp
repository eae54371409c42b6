// System calls that user code has no business with.
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "isolation/probe/finding.hpp"

namespace sandboxd::probe {

namespace {

// No such file, for calls that would do something to one that exists.
constexpr const char* kNowhere = "/sandbox-probe/nowhere";

struct NamespaceFlag {
    const char* name;
    int flag;
};

// In a child: where it succeeds, the child has the new namespace and goes. 0, or the errno.
int g_flags;
int unshare_flags() { return ::unshare(g_flags) == 0 ? 0 : errno; }

// As an attempt's result: -1 with errno, or 0.
long errno_of_child(int status) {
    errno = status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
    return errno == 0 ? 0 : -1;
}

long try_unshare(int flags) {
    g_flags = flags;
    return errno_of_child(in_child(unshare_flags));
}

long try_clone(int flags) {
    // Raw, with the parent's stack: as fork(2) does it.
    const long child = ::syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, 0);
    if (child == 0) ::_exit(0);
    if (child > 0) (void)::waitpid(static_cast<pid_t>(child), nullptr, 0);
    return child;
}

void user_namespaces(Finding& finding, const Limits&) {
    // ENOSPC is the limit of the namespace above, behind the filter.
    finding.attempt("unshare", try_unshare(CLONE_NEWUSER), {EPERM, ENOSYS});
    finding.attempt("clone", try_clone(CLONE_NEWUSER), {EPERM, ENOSYS});
    finding.attempt("clone3", ::syscall(SYS_clone3, nullptr, 0), {EPERM, ENOSYS});
}

void other_namespaces(Finding& finding, const Limits&) {
    constexpr NamespaceFlag kFlags[] = {{"mnt", CLONE_NEWNS},  {"pid", CLONE_NEWPID}, {"net", CLONE_NEWNET},
                                        {"ipc", CLONE_NEWIPC}, {"uts", CLONE_NEWUTS}, {"cgroup", CLONE_NEWCGROUP}};
    for (const NamespaceFlag& each : kFlags) {
        finding.attempt(each.name, try_unshare(each.flag), {EPERM, ENOSYS});
        Finding by_clone;
        by_clone.attempt(each.name, try_clone(each.flag), {EPERM, ENOSYS});
        if (by_clone.status() == WallStatus::broken) finding.bad("clone: %s", by_clone.observed());
    }
    finding.attempt("time", try_unshare(CLONE_NEWTIME), {EPERM, ENOSYS});  // clone(2) has no flag for it
    finding.attempt("setns", ::setns(-1, 0), {EPERM, ENOSYS});
}

void mounts(Finding& finding, const Limits&) {
    finding.attempt("mount", ::syscall(SYS_mount, "none", kNowhere, "tmpfs", 0, nullptr), {EPERM, ENOSYS});
    finding.attempt("umount2", ::syscall(SYS_umount2, kNowhere, 0), {EPERM, ENOSYS});
    finding.attempt("pivot_root", ::syscall(SYS_pivot_root, kNowhere, kNowhere), {EPERM, ENOSYS});
    finding.attempt("chroot", ::syscall(SYS_chroot, kNowhere), {EPERM, ENOSYS});
    finding.attempt("fsopen", ::syscall(SYS_fsopen, nullptr, 0), {EPERM, ENOSYS});
    finding.attempt("open_tree", ::syscall(SYS_open_tree, -1, kNowhere, 0), {EPERM, ENOSYS});
    finding.attempt("move_mount", ::syscall(SYS_move_mount, -1, "", -1, "", 0), {EPERM, ENOSYS});
    finding.attempt("mount_setattr", ::syscall(SYS_mount_setattr, -1, "", 0, nullptr, 0), {EPERM, ENOSYS});
}

void tracing(Finding& finding, const Limits&) {
    // Process 0 is nobody's.
    finding.attempt("ptrace", ::syscall(SYS_ptrace, PTRACE_CONT, 0, 0, 0), {EPERM, ENOSYS});
    finding.attempt("process_vm_readv", ::syscall(SYS_process_vm_readv, ::getpid(), nullptr, 0, nullptr, 0, 0), {EPERM, ENOSYS});
    finding.attempt("process_vm_writev", ::syscall(SYS_process_vm_writev, ::getpid(), nullptr, 0, nullptr, 0, 0), {EPERM, ENOSYS});
    finding.attempt("kcmp", ::syscall(SYS_kcmp, ::getpid(), ::getpid(), 99, 0, 0), {EPERM, ENOSYS});
}

void bpf(Finding& finding, const Limits&) { finding.attempt("bpf", ::syscall(SYS_bpf, -1, nullptr, 0), {EPERM, ENOSYS}); }

void perf_events(Finding& finding, const Limits&) {
    finding.attempt("perf_event_open", ::syscall(SYS_perf_event_open, nullptr, 0, -1, -1, 0), {EPERM, ENOSYS});
}

void io_uring(Finding& finding, const Limits&) {
    finding.attempt("io_uring_setup", ::syscall(SYS_io_uring_setup, 0, nullptr), {EPERM, ENOSYS});
    finding.attempt("io_uring_enter", ::syscall(SYS_io_uring_enter, -1, 0, 0, 0, nullptr, 0), {EPERM, ENOSYS});
    finding.attempt("io_uring_register", ::syscall(SYS_io_uring_register, -1, 0, nullptr, 0), {EPERM, ENOSYS});
}

void userfaultfd(Finding& finding, const Limits&) {
    constexpr int kUserModeOnly = 1;  // what a sysctl refuses to nobody (kernel 5.11)
    const long fd = ::syscall(SYS_userfaultfd, O_CLOEXEC | kUserModeOnly);
    finding.attempt("userfaultfd", fd, {EPERM, ENOSYS});
    if (fd >= 0) ::close(static_cast<int>(fd));
}

void keyrings(Finding& finding, const Limits&) {
    finding.attempt("keyctl", ::syscall(SYS_keyctl, -1, 0, 0, 0, 0), {EPERM, ENOSYS});
    finding.attempt("add_key", ::syscall(SYS_add_key, nullptr, nullptr, nullptr, 0, 0), {EPERM, ENOSYS});
    finding.attempt("request_key", ::syscall(SYS_request_key, nullptr, nullptr, nullptr, 0), {EPERM, ENOSYS});
}

void kernel_modules(Finding& finding, const Limits&) {
    finding.attempt("init_module", ::syscall(SYS_init_module, nullptr, 0, nullptr), {EPERM, ENOSYS});
    finding.attempt("finit_module", ::syscall(SYS_finit_module, -1, "", 0), {EPERM, ENOSYS});
    finding.attempt("delete_module", ::syscall(SYS_delete_module, nullptr, 0), {EPERM, ENOSYS});
    finding.attempt("kexec_load", ::syscall(SYS_kexec_load, 0, 0, nullptr, 0xffff), {EPERM, ENOSYS});
}

void file_handles(Finding& finding, const Limits&) {
    finding.attempt("name_to_handle_at", ::syscall(SYS_name_to_handle_at, -1, "", nullptr, nullptr, 0), {EPERM, ENOSYS});
    finding.attempt("open_by_handle_at", ::syscall(SYS_open_by_handle_at, -1, nullptr, 0), {EPERM, ENOSYS});
}

void pidfd_getfd(Finding& finding, const Limits&) { finding.attempt("pidfd_getfd", ::syscall(SYS_pidfd_getfd, -1, 0, 0), {EPERM, ENOSYS}); }

void page_splicing(Finding& finding, const Limits&) {
    // The filter answers EINVAL, which programs take for "not with these descriptors"; the kernel would say EBADF.
    finding.attempt("splice", ::syscall(SYS_splice, -1, nullptr, -1, nullptr, 1, 0), {EPERM, ENOSYS, EINVAL});
    finding.attempt("tee", ::syscall(SYS_tee, -1, -1, 1, 0), {EPERM, ENOSYS, EINVAL});
    finding.attempt("vmsplice", ::syscall(SYS_vmsplice, -1, nullptr, 0, 0), {EPERM, ENOSYS});
}

void futex_pi(Finding& finding, const Limits&) {
    std::uint32_t word = 0;
    finding.attempt("lock_pi", ::syscall(SYS_futex, &word, FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, nullptr, nullptr, 0), {EPERM, ENOSYS});
    finding.attempt("wait_requeue_pi", ::syscall(SYS_futex, &word, FUTEX_WAIT_REQUEUE_PI, 0, nullptr, &word, 0), {EPERM, ENOSYS});
    finding.attempt("cmp_requeue_pi", ::syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE_PI, 0, nullptr, &word, 0), {EPERM, ENOSYS});
}

#if defined(__x86_64__)
int call_i386() {
    constexpr long kGetpid = 20;
    long result = kGetpid;
    asm volatile("int $0x80" : "+a"(result)::"memory", "r8", "r9", "r10", "r11");
    return 0;
}

int call_x32() {
    constexpr long kX32 = 0x40000000;
    return ::syscall(kX32 | SYS_getpid) >= 0 ? 0 : 1;
}
#endif

// Filters compare numbers; the same numbers mean other calls in another calling convention.
void foreign_syscalls(Finding& finding, const Limits&) {
#if defined(__x86_64__)
    int status = in_child(call_i386);
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV)) {
        finding.good("i386 calls: %s", WTERMSIG(status) == SIGSYS ? "SIGSYS" : "this kernel has none");
    } else {
        finding.bad("an i386 call got through");
    }
    status = in_child(call_x32);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
        finding.good("x32 calls: SIGSYS");
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == 1) {
        finding.good("x32 calls: this kernel has none");
    } else {
        finding.bad("an x32 call got through");
    }
#else
    finding.good("not tried on this architecture");
#endif
}

void host_settings(Finding& finding, const Limits&) {
    finding.attempt("sethostname", ::syscall(SYS_sethostname, "", -1), {EPERM, ENOSYS});
    finding.attempt("clock_settime", ::syscall(SYS_clock_settime, 0, nullptr), {EPERM, ENOSYS});
    finding.attempt("syslog", ::syscall(SYS_syslog, -1, nullptr, 0), {EPERM, ENOSYS});
    finding.attempt("reboot", ::syscall(SYS_reboot, 0, 0, 0, nullptr), {EPERM, ENOSYS});
    finding.attempt("swapon", ::syscall(SYS_swapon, kNowhere, 0), {EPERM, ENOSYS});
    finding.attempt("acct", ::syscall(SYS_acct, kNowhere), {EPERM, ENOSYS});
#if defined(__x86_64__)
    finding.attempt("iopl", ::syscall(SYS_iopl, 4), {EPERM, ENOSYS});
#endif
}

}  // namespace

const WallAttempt kKernelAttempts[] = {
    {Wall::user_namespaces, user_namespaces}, {Wall::other_namespaces, other_namespaces}, {Wall::mounts, mounts},
    {Wall::tracing, tracing},                 {Wall::bpf, bpf},                           {Wall::perf_events, perf_events},
    {Wall::io_uring, io_uring},               {Wall::userfaultfd, userfaultfd},           {Wall::keyrings, keyrings},
    {Wall::kernel_modules, kernel_modules},   {Wall::file_handles, file_handles},         {Wall::pidfd_getfd, pidfd_getfd},
    {Wall::page_splicing, page_splicing},     {Wall::futex_pi, futex_pi},                 {Wall::foreign_syscalls, foreign_syscalls},
    {Wall::host_settings, host_settings},     {Wall::count, nullptr},
};

}  // namespace sandboxd::probe
