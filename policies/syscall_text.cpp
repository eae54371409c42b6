#include "policies/syscall_text.hpp"

#include <array>
#include <cstdio>
#include <string_view>

namespace sandboxd::policies {

namespace {

// By number; "" is none.
constexpr std::array<std::string_view, 336> kFirstNames{
    "read", "write", "open", "close", "stat", "fstat", "lstat", "poll", "lseek", "mmap", "mprotect", "munmap",
    "brk", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "ioctl", "pread64", "pwrite64", "readv", "writev",
    "access", "pipe", "select", "sched_yield", "mremap", "msync", "mincore", "madvise", "shmget", "shmat",
    "shmctl", "dup", "dup2", "pause", "nanosleep", "getitimer", "alarm", "setitimer", "getpid", "sendfile",
    "socket", "connect", "accept", "sendto", "recvfrom", "sendmsg", "recvmsg", "shutdown", "bind", "listen",
    "getsockname", "getpeername", "socketpair", "setsockopt", "getsockopt", "clone", "fork", "vfork", "execve",
    "exit", "wait4", "kill", "uname", "semget", "semop", "semctl", "shmdt", "msgget", "msgsnd", "msgrcv",
    "msgctl", "fcntl", "flock", "fsync", "fdatasync", "truncate", "ftruncate", "getdents", "getcwd", "chdir",
    "fchdir", "rename", "mkdir", "rmdir", "creat", "link", "unlink", "symlink", "readlink", "chmod", "fchmod",
    "chown", "fchown", "lchown", "umask", "gettimeofday", "getrlimit", "getrusage", "sysinfo", "times",
    "ptrace", "getuid", "syslog", "getgid", "setuid", "setgid", "geteuid", "getegid", "setpgid", "getppid",
    "getpgrp", "setsid", "setreuid", "setregid", "getgroups", "setgroups", "setresuid", "getresuid",
    "setresgid", "getresgid", "getpgid", "setfsuid", "setfsgid", "getsid", "capget", "capset", "rt_sigpending",
    "rt_sigtimedwait", "rt_sigqueueinfo", "rt_sigsuspend", "sigaltstack", "utime", "mknod", "uselib",
    "personality", "ustat", "statfs", "fstatfs", "sysfs", "getpriority", "setpriority", "sched_setparam",
    "sched_getparam", "sched_setscheduler", "sched_getscheduler", "sched_get_priority_max",
    "sched_get_priority_min", "sched_rr_get_interval", "mlock", "munlock", "mlockall", "munlockall", "vhangup",
    "modify_ldt", "pivot_root", "_sysctl", "prctl", "arch_prctl", "adjtimex", "setrlimit", "chroot", "sync",
    "acct", "settimeofday", "mount", "umount2", "swapon", "swapoff", "reboot", "sethostname", "setdomainname",
    "iopl", "ioperm", "create_module", "init_module", "delete_module", "get_kernel_syms", "query_module",
    "quotactl", "nfsservctl", "getpmsg", "putpmsg", "afs_syscall", "tuxcall", "security", "gettid", "readahead",
    "setxattr", "lsetxattr", "fsetxattr", "getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr",
    "flistxattr", "removexattr", "lremovexattr", "fremovexattr", "tkill", "time", "futex", "sched_setaffinity",
    "sched_getaffinity", "set_thread_area", "io_setup", "io_destroy", "io_getevents", "io_submit", "io_cancel",
    "get_thread_area", "lookup_dcookie", "epoll_create", "epoll_ctl_old", "epoll_wait_old", "remap_file_pages",
    "getdents64", "set_tid_address", "restart_syscall", "semtimedop", "fadvise64", "timer_create",
    "timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete", "clock_settime", "clock_gettime",
    "clock_getres", "clock_nanosleep", "exit_group", "epoll_wait", "epoll_ctl", "tgkill", "utimes", "vserver",
    "mbind", "set_mempolicy", "get_mempolicy", "mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive",
    "mq_notify", "mq_getsetattr", "kexec_load", "waitid", "add_key", "request_key", "keyctl", "ioprio_set",
    "ioprio_get", "inotify_init", "inotify_add_watch", "inotify_rm_watch", "migrate_pages", "openat", "mkdirat",
    "mknodat", "fchownat", "futimesat", "newfstatat", "unlinkat", "renameat", "linkat", "symlinkat",
    "readlinkat", "fchmodat", "faccessat", "pselect6", "ppoll", "unshare", "set_robust_list", "get_robust_list",
    "splice", "tee", "sync_file_range", "vmsplice", "move_pages", "utimensat", "epoll_pwait", "signalfd",
    "timerfd_create", "eventfd", "fallocate", "timerfd_settime", "timerfd_gettime", "accept4", "signalfd4",
    "eventfd2", "epoll_create1", "dup3", "pipe2", "inotify_init1", "preadv", "pwritev", "rt_tgsigqueueinfo",
    "perf_event_open", "recvmmsg", "fanotify_init", "fanotify_mark", "prlimit64", "name_to_handle_at",
    "open_by_handle_at", "clock_adjtime", "syncfs", "sendmmsg", "setns", "getcpu", "process_vm_readv",
    "process_vm_writev", "kcmp", "finit_module", "sched_setattr", "sched_getattr", "renameat2", "seccomp",
    "getrandom", "memfd_create", "kexec_file_load", "bpf", "execveat", "userfaultfd", "membarrier", "mlock2",
    "copy_file_range", "preadv2", "pwritev2", "pkey_mprotect", "pkey_alloc", "pkey_free", "statx",
    "io_pgetevents", "rseq", "uretprobe",
};
// The same on every architecture from here on.
constexpr std::array<std::string_view, 44> kCommonNames{
    "pidfd_send_signal", "io_uring_setup", "io_uring_enter", "io_uring_register", "open_tree", "move_mount",
    "fsopen", "fsconfig", "fsmount", "fspick", "pidfd_open", "clone3", "close_range", "openat2", "pidfd_getfd",
    "faccessat2", "process_madvise", "epoll_pwait2", "mount_setattr", "quotactl_fd", "landlock_create_ruleset",
    "landlock_add_rule", "landlock_restrict_self", "memfd_secret", "process_mrelease", "futex_waitv",
    "set_mempolicy_home_node", "cachestat", "fchmodat2", "map_shadow_stack", "futex_wake", "futex_wait",
    "futex_requeue", "statmount", "listmount", "lsm_get_self_attr", "lsm_set_self_attr", "lsm_list_modules",
    "mseal", "setxattrat", "getxattrat", "listxattrat", "removexattrat", "open_tree_attr",
};
constexpr std::uint32_t kCommonFrom = 424;

struct Constant {
    std::uint32_t value;
    std::string_view name;
};

constexpr std::array kFamilies{
    Constant{0, "AF_UNSPEC"},    Constant{1, "AF_UNIX"},     Constant{2, "AF_INET"},      Constant{10, "AF_INET6"},    Constant{16, "AF_NETLINK"},
    Constant{17, "AF_PACKET"},   Constant{21, "AF_RDS"},     Constant{29, "AF_CAN"},      Constant{30, "AF_TIPC"},     Constant{31, "AF_BLUETOOTH"},
    Constant{33, "AF_RXRPC"},    Constant{38, "AF_ALG"},     Constant{40, "AF_VSOCK"},    Constant{41, "AF_KCM"},      Constant{42, "AF_QIPCRTR"},
    Constant{43, "AF_SMC"},      Constant{44, "AF_XDP"},     Constant{3, "AF_AX25"},      Constant{15, "AF_KEY"},      Constant{24, "AF_PPPOX"},
};
constexpr std::array kSocketTypes{Constant{1, "SOCK_STREAM"}, Constant{2, "SOCK_DGRAM"}, Constant{3, "SOCK_RAW"},
                                  Constant{4, "SOCK_RDM"},    Constant{5, "SOCK_SEQPACKET"}, Constant{10, "SOCK_PACKET"}};
constexpr std::array kTraceRequests{Constant{0, "PTRACE_TRACEME"}, Constant{1, "PTRACE_PEEKTEXT"}, Constant{2, "PTRACE_PEEKDATA"},
                                    Constant{4, "PTRACE_POKETEXT"}, Constant{5, "PTRACE_POKEDATA"}, Constant{16, "PTRACE_ATTACH"},
                                    Constant{0x4206, "PTRACE_SEIZE"}};
constexpr std::array kNamespaceFlags{Constant{0x00020000, "CLONE_NEWNS"},  Constant{0x02000000, "CLONE_NEWCGROUP"}, Constant{0x04000000, "CLONE_NEWUTS"},
                                     Constant{0x08000000, "CLONE_NEWIPC"}, Constant{0x10000000, "CLONE_NEWUSER"},   Constant{0x20000000, "CLONE_NEWPID"},
                                     Constant{0x40000000, "CLONE_NEWNET"}, Constant{0x00000080, "CLONE_NEWTIME"}};
constexpr std::array kDeviceKinds{Constant{0020000, "S_IFCHR"}, Constant{0060000, "S_IFBLK"}};

constexpr std::uint32_t kFileKind = 0170000;
constexpr std::uint32_t kSocketTypeMask = 0xf;  // SOCK_NONBLOCK and SOCK_CLOEXEC stand above

std::string number_text(std::uint32_t value) {
    if (value < 1024) return std::to_string(value);
    std::array<char, 16> text{};
    std::snprintf(text.data(), text.size(), "0x%x", value);
    return text.data();
}

template <std::size_t N>
std::string named(const std::array<Constant, N>& constants, std::uint32_t value) {
    for (const Constant& constant : constants) {
        if (constant.value == value) return std::string{constant.name};
    }
    return number_text(value);
}

template <std::size_t N>
std::string flags_text(const std::array<Constant, N>& constants, std::uint32_t value) {
    std::string out;
    for (const Constant& constant : constants) {
        if ((value & constant.value) != 0) out.append(out.empty() ? "" : "|").append(constant.name);
    }
    return out.empty() ? number_text(value) : out;
}

std::string argument_text(std::string_view name, const RefusedCall::Argument& argument) {
    const bool socket = name == "socket" || name == "socketpair";
    if (socket && argument.index == 0) return named(kFamilies, argument.value);
    if (socket && argument.index == 1) return named(kSocketTypes, argument.value & kSocketTypeMask);
    if (name == "ptrace") return named(kTraceRequests, argument.value);
    if (name == "clone" || name == "unshare" || name == "setns") return flags_text(kNamespaceFlags, argument.value);
    if (name == "mknod" || name == "mknodat") return named(kDeviceKinds, argument.value & kFileKind);
    return number_text(argument.value);
}

}  // namespace

std::string syscall_name(std::uint32_t number) {
    std::string_view name;
    if (number < kFirstNames.size()) name = kFirstNames[number];
    if (number >= kCommonFrom && number - kCommonFrom < kCommonNames.size()) name = kCommonNames[number - kCommonFrom];
    return name.empty() ? "syscall " + std::to_string(number) : std::string{name};
}

std::string call_text(const RefusedCall& call) {
    const std::string name = syscall_name(call.number);
    std::string arguments;
    for (const RefusedCall::Argument& argument : call.arguments) {
        arguments.append(arguments.empty() ? "" : ", ").append(argument_text(name, argument));
    }
    return arguments.empty() ? name : name + "(" + arguments + ")";
}

}  // namespace sandboxd::policies
