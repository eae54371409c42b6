"""The table of kernel-surface attacks. A new one is a line here; a new kind of attack is a function in probes/*.c.

Case(name, probe arguments, errnos that are a right refusal inside). Outside, as root, the same probe must get through
(the positive control): otherwise a refusal inside would prove nothing, and the case is skipped with what it said."""
import dataclasses

# What refusals look like (the profile's own words: unknown -> ENOSYS, privileged -> EPERM, zero-copy -> EINVAL, ...).
GONE = ("ENOSYS",)
NO = ("EPERM",)
HIDDEN = ("ENOENT", "EACCES", "EPERM", "ENODATA", "ENXIO")
FAMILY = ("EAFNOSUPPORT", "EPROTONOSUPPORT", "EPERM", "ESOCKTNOSUPPORT")

CLONE = {"user": 0x10000000, "mount": 0x00020000, "net": 0x40000000, "pid": 0x20000000, "ipc": 0x08000000, "uts": 0x04000000,
         "cgroup": 0x02000000}


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    probe: str
    refused: tuple
    # Errnos of the control that also prove that the kernel was reached (a raw call with bad arguments).
    reached: tuple = ("ok",)
    root_may: bool = False   # uid 0 of the jail has a right to it: only `user` is tried


A_NAMESPACES = [Case(f"a new {name} namespace by unshare", f"unshare {flag:#x}", ("EPERM", "ENOSYS")) for name, flag in CLONE.items()]
A_NAMESPACES += [Case(f"a new {name} namespace by clone", f"clone {flag:#x}", ("EPERM",)) for name, flag in CLONE.items()]
A_NAMESPACES += [
    Case("a new user namespace by clone3", "clone3 0x10000000", GONE),
    Case("a mount namespace by setns", "setns /proc/self/ns/mnt", ("EPERM", "ENOSYS")),
    Case("a mount of tmpfs", "mount_tmpfs", ("EPERM", "ENOSYS")),
    Case("a mount of proc", "mount_proc", ("EPERM", "ENOSYS")),
    Case("a bind mount", "bind_mount", ("EPERM", "ENOSYS")),
    Case("fsopen", "fsopen", ("EPERM", "ENOSYS")),
    Case("open_tree", "open_tree", ("EPERM", "ENOSYS")),
    Case("chroot", "chroot", ("EPERM", "ENOSYS")),
    Case("sethostname", "sethostname", ("EPERM", "ENOSYS")),
    Case("pivot_root", "call 155 bad bad", ("EPERM", "ENOSYS"), reached=("EFAULT",)),
    Case("move_mount", "call 429 -1 bad -1 bad 0", ("EPERM", "ENOSYS"), reached=("EFAULT", "EBADF")),
    Case("mount_setattr", "call 442 -1 bad 0 bad 32", ("EPERM", "ENOSYS"), reached=("EFAULT", "EBADF", "EINVAL")),
    Case("a file handle by name", "name_to_handle", ("EPERM", "ENOSYS")),
    Case("a file by handle", "call 304 -100 bad 0", ("EPERM", "ENOSYS"), reached=("EFAULT",)),
    Case("a character device", "mknod char", ("EPERM",)),
    Case("a block device", "mknod block", ("EPERM",)),
    Case("a whiteout, which is a device", "whiteout", ("EPERM", "EINVAL", "ENOSYS")),
]

A_PROCESSES = [
    Case("ptrace", "ptrace", ("EPERM",)),
    Case("memory of another process", "process_vm_readv", ("EPERM",)),
    Case("a descriptor of another process", "pidfd_getfd", ("EPERM",)),
    Case("bpf", "bpf", ("EPERM", "ENOSYS")),
    Case("perf events", "perf", ("EPERM", "ENOSYS")),
    Case("io_uring", "io_uring", ("ENOSYS", "EPERM")),
    Case("userfaultfd", "userfaultfd", ("EPERM", "ENOSYS")),
    Case("a key in a keyring", "add_key", ("EPERM", "ENOSYS")),
    Case("keyctl", "call 250 0 -1 0", ("EPERM", "ENOSYS"), reached=("ok", "ENOKEY")),
    Case("a seccomp listener", "seccomp_listener", ("EPERM", "ENOSYS", "EINVAL")),
    Case("real-time scheduling", "sched_fifo", ("EPERM",)),
    Case("a better nice value", "nice", ("EPERM", "EACCES")),
    Case("personality with executable reads", "personality", ("EPERM", "EINVAL", "ENOSYS")),
    Case("futexes with priority inheritance", "futex_pi", GONE),
    Case("32-bit system calls", "int80", ("EACCES", "ENOSYS")),
    Case("capabilities in any set", "capabilities", NO, root_may=True),
    Case("gaining privileges by exec", "new_privileges", NO),
    Case("running without a filter", "unfiltered", NO),
    Case("becoming root by setresuid", "setuid_root", NO, root_may=True),
    Case("loading a module", "call 175 bad 0 bad", ("EPERM", "ENOSYS"), reached=("EFAULT", "ENOEXEC", "EINVAL")),
    Case("loading a kernel", "call 246 0 0 bad 0x80000000", ("EPERM", "ENOSYS"), reached=("EFAULT", "EINVAL", "EADDRNOTAVAIL")),
    Case("kernel log by syslog", "call 103 10 0 0", ("EPERM", "ENOSYS"), reached=("ok",)),
    Case("setting the clock", "call 227 99 bad", ("EPERM", "ENOSYS"), reached=("EFAULT", "EINVAL")),
    Case("process accounting", "call 163 bad", ("EPERM", "ENOSYS"), reached=("EFAULT",)),
    Case("swapon", "call 167 bad 0x7fff", ("EPERM", "ENOSYS"), reached=("EINVAL", "EFAULT")),
    Case("quotactl", "call 179 -1 bad 0 bad", ("EPERM", "ENOSYS"), reached=("EFAULT", "EINVAL")),
    Case("fanotify", "call 300 0 0", ("EPERM", "ENOSYS"), reached=("ok",)),
    Case("an LDT entry", "call 154 1 bad 16", ("EPERM", "ENOSYS"), reached=("EFAULT", "ok")),
    Case("kcmp", "call 312 0 0 99 0 0", ("EPERM", "ENOSYS"), reached=("EINVAL", "ESRCH")),
    Case("moving pages", "call 279 0 0 0 0 0 0", ("EPERM", "ENOSYS"), reached=("ok",)),
    Case("a system call that nobody knows", "call 999", GONE, reached=("ENOSYS",)),
]

A_SOCKETS = [
    Case("packet sockets", "socket 17 3 0", FAMILY), Case("vsock", "socket 40 1 0", FAMILY),
    Case("raw sockets", "socket 2 3 1", FAMILY), Case("raw IPv6 sockets", "socket 10 3 58", FAMILY),
    Case("SCTP by protocol", "socket 2 1 132", FAMILY), Case("SCTP by type", "socket 2 5 0", FAMILY),
    Case("AF_ALG", "socket 38 5 0", FAMILY), Case("AF_KEY", "socket 15 3 2", FAMILY), Case("RDS", "socket 21 5 0", FAMILY),
    Case("TIPC", "socket 30 1 0", FAMILY), Case("CAN", "socket 29 3 1", FAMILY), Case("rxrpc", "socket 33 2 2", FAMILY),
    Case("XDP", "socket 44 3 0", FAMILY), Case("netlink: uevents", "socket 16 3 15", FAMILY),
    Case("netlink: netfilter", "socket 16 3 12", FAMILY), Case("netlink: xfrm", "socket 16 3 6", FAMILY),
    Case("netlink: audit", "socket 16 3 9", FAMILY), Case("netlink: generic", "socket 16 3 16", FAMILY),
    Case("a socket filter", "so_attach_filter", ("ENOPROTOOPT", "EPERM")), Case("zero-copy sending", "so_zerocopy", ("ENOPROTOOPT", "EPERM")),
    Case("joining a multicast group", "multicast_join", ("ENOPROTOOPT", "EPERM")),
    Case("a TCP upper-layer protocol", "tcp_ulp", ("ENOPROTOOPT", "EPERM")),
    Case("an xfrm policy on a socket", "xfrm_policy", ("ENOPROTOOPT", "EPERM")),
    Case("out-of-band data on a Unix socket", "msg_oob", ("EOPNOTSUPP", "EINVAL", "EPERM")),
]

A_OTHER = [
    Case("typing into a terminal", "tiocsti", ("EPERM", "EIO", "EINVAL", "ENOTTY")),
    Case("typing into a terminal with high bits set", "tiocsti_high_bits", ("EPERM", "EIO", "EINVAL", "ENOTTY")),
    Case("splice", "splice", ("EINVAL", "ENOSYS")), Case("vmsplice", "vmsplice", ("ENOSYS", "EINVAL")), Case("tee", "tee", ("EINVAL", "ENOSYS")),
    Case("a trusted attribute", "setxattr trusted.x", ("EPERM", "EOPNOTSUPP")),
    Case("an overlay attribute", "setxattr trusted.overlay.redirect", ("EPERM", "EOPNOTSUPP")),
    Case("a file capability that the host would honour", "setxattr security.capability", ("EPERM",), root_may=True),
]

A_FILES = [Case(f"reading {path}", f"read {path}", HIDDEN) for path in (
    "/proc/kallsyms", "/proc/cmdline", "/proc/config.gz", "/proc/keys", "/proc/interrupts", "/proc/iomem", "/proc/kcore",
    "/proc/kmsg", "/proc/sched_debug", "/proc/timer_list", "/proc/slabinfo", "/proc/vmallocinfo", "/proc/modules", "/dev/kmsg",
    "/dev/mem", "/sys/kernel/notes", "/sys/class/dmi/id/product_name", "/proc/1/environ", "/proc/1/maps")]
A_FILES += [Case(f"writing {path}", f"open_write {path}", ("ENOENT", "EACCES", "EPERM", "EROFS")) for path in (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/user/max_user_namespaces", "/proc/sysrq-trigger",
    "/proc/1/oom_score_adj", "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/fs/cgroup/cgroup.procs", "/usr/bin/env")]

KERNEL_SURFACE = A_NAMESPACES + A_PROCESSES + A_SOCKETS + A_OTHER + A_FILES
