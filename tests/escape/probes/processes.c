// Other processes, PID 1 above all; privileges; kernel interfaces that a program has no business with.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

// Without an argument: a child of our own that only waits, so that outside nothing else is ever touched. It ends with
// us, because it reads from a pipe that nobody else can write to.
static pid_t target(int argc, char** argv) {
    if (argc > 0) return (pid_t)strtol(argv[0], NULL, 10);
    int ends[2];
    if (pipe(ends) != 0) return 0;
    const pid_t child = fork();
    if (child == 0) {
        char byte;
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(ends[0]);
    return child;
}

static int trace(int argc, char** argv) {
    const pid_t pid = target(argc, argv);
    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) != 0) return errno;  // SEIZE: does not stop it
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
    return 0;
}

static int read_memory(int argc, char** argv) {
    static char here[16];
    struct iovec local = {here, sizeof here}, remote = {here, sizeof here};
    const int result = verdict(process_vm_readv(target(argc, argv), &local, 1, &remote, 1, 0));
    return result == EFAULT ? 0 : result;  // past the permission check, which is what is probed
}

static int open_memory(int argc, char** argv) {
    char path[64] = "/proc/";
    strncat(path, argc > 0 ? argv[0] : "self", 20);
    strncat(path, "/mem", 5);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) close(fd);
    return verdict(fd);
}

static int send_nothing(int argc, char** argv) { return verdict(kill(target(argc, argv), 0)); }

static int set_limit(int argc, char** argv) {
    struct rlimit64 limit;
    const pid_t pid = target(argc, argv);
    if (prlimit64(pid, RLIMIT_CORE, NULL, &limit) != 0) return errno;
    return verdict(prlimit64(pid, RLIMIT_CORE, &limit, NULL));
}

static int take_fd(int argc, char** argv) {
    const int pidfd = (int)syscall(SYS_pidfd_open, target(argc, argv), 0);
    if (pidfd < 0) return errno;
    return verdict(syscall(SYS_pidfd_getfd, pidfd, 0, 0));
}

static int become_root(int argc, char** argv) {
    (void)argc, (void)argv;
    return verdict(setresuid(0, 0, 0));
}

static int load_bpf(int argc, char** argv) {
    (void)argc, (void)argv;
    const struct bpf_insn code[] = {{.code = 0xb7, .dst_reg = 0, .imm = 0}, {.code = 0x95}};  // r0 = 0; exit
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
    attr.insns = (uintptr_t)code;
    attr.insn_cnt = 2;
    attr.license = (uintptr_t) "GPL";
    return verdict(syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr));
}

static int perf(int argc, char** argv) {
    (void)argc, (void)argv;
    struct perf_event_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.type = PERF_TYPE_SOFTWARE;
    attr.size = sizeof attr;
    attr.config = PERF_COUNT_SW_CPU_CLOCK;
    return verdict(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0));
}

static int io_uring(int argc, char** argv) {
    (void)argc, (void)argv;
    char params[120] = {0};
    return verdict(syscall(SYS_io_uring_setup, 4, params));
}

static int fault_fd(int argc, char** argv) {
    (void)argc, (void)argv;
    return verdict(syscall(SYS_userfaultfd, O_CLOEXEC));
}

static int add_key(int argc, char** argv) {
    (void)argc, (void)argv;
    return verdict(syscall(SYS_add_key, "user", "probe", "x", 1, -2 /* process keyring */));
}

static int listen_seccomp(int argc, char** argv) {
    (void)argc, (void)argv;
    struct sock_filter allow = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
    struct sock_fprog program = {1, &allow};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
    return verdict(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
}

static int real_time(int argc, char** argv) {
    (void)argc, (void)argv;
    struct sched_param param = {.sched_priority = 1};
    return verdict(sched_setscheduler(0, SCHED_FIFO, &param));
}

static int nicer(int argc, char** argv) {
    (void)argc, (void)argv;
    return verdict(setpriority(PRIO_PROCESS, 0, -5));
}

static int raise_limit(int argc, char** argv) {
    (void)argc, (void)argv;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return errno;
    limit.rlim_cur = limit.rlim_max = limit.rlim_max + 1;
    return verdict(setrlimit(RLIMIT_NOFILE, &limit));
}

static int executable_reads(int argc, char** argv) {
    (void)argc, (void)argv;
    return verdict(personality(READ_IMPLIES_EXEC));
}

static int pi_futex(int argc, char** argv) {
    (void)argc, (void)argv;
    static uint32_t word;
    return verdict(syscall(SYS_futex, &word, 6 /* FUTEX_LOCK_PI */, 0, NULL, NULL, 0));
}

// 32-bit and x32 entry points bypass filters that look at 64-bit numbers only. 20: getpid there.
static int int80(int argc, char** argv) {
    (void)argc, (void)argv;
    const pid_t child = fork();
    if (child == 0) {
        long result = 20;
        __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
        _exit(result > 0 ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGSYS ? EACCES : NOT_HERE;
    return WEXITSTATUS(status) == 0 ? 0 : ENOSYS;
}

// Capabilities, as the kernel holds them: any bit in any set is a way through.
static int capabilities(int argc, char** argv) {
    (void)argc, (void)argv;
    unsigned header[2] = {0x20080522, 0}, data[6] = {0};
    if (syscall(SYS_capget, header, data) != 0) return errno;
    unsigned any = 0;
    for (int i = 0; i < 6; ++i) any |= data[i];
    for (int cap = 0; cap < 41; ++cap) {
        any |= prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1;
        any |= prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1;
    }
    return any == 0 ? EPERM : 0;
}

static int new_privileges(int argc, char** argv) {
    (void)argc, (void)argv;
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? EPERM : 0;
}

static int unfiltered(int argc, char** argv) {
    (void)argc, (void)argv;
    return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 2 ? EPERM : 0;
}

static pid_t sleeping_child(void) {
    const pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    return child;
}

// take_pid PID: a child with that number, which then stays; says the number. Where the kernel gives the lowest free number
// a few children are enough; where it gives them in turn, one round of the first 40000 is made.
static int take_pid(int argc, char** argv) {
    if (argc < 1) return EINVAL;
    const pid_t wanted = (pid_t)strtol(argv[0], NULL, 10);
    pid_t child = 0;
    for (int n = 0; n < 30 && child != wanted; ++n) child = sleeping_child();
    for (volatile int n = 0; n < 40000 && child != wanted; ++n) {
        const pid_t last = vfork();
        if (last == 0) _exit(0);
        if (last < 0) return errno;
        waitpid(last, NULL, 0);
        if (last == wanted - 1) child = sleeping_child();
    }
    if (child != wanted) return EAGAIN;
    printf("%d\n", (int)child);
    pause();
    return 0;
}

const struct probe process_probes[] = {
    {"ptrace", trace}, {"process_vm_readv", read_memory}, {"proc_mem", open_memory}, {"kill", send_nothing}, {"prlimit", set_limit},
    {"pidfd_getfd", take_fd}, {"setuid_root", become_root}, {"bpf", load_bpf}, {"perf", perf}, {"io_uring", io_uring},
    {"userfaultfd", fault_fd}, {"add_key", add_key}, {"seccomp_listener", listen_seccomp}, {"sched_fifo", real_time},
    {"nice", nicer}, {"raise_nofile", raise_limit}, {"personality", executable_reads}, {"futex_pi", pi_futex}, {"int80", int80},
    {"capabilities", capabilities}, {"new_privileges", new_privileges}, {"unfiltered", unfiltered}, {"take_pid", take_pid}, {NULL, NULL},
};
