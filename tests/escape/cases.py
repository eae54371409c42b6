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
    control: str = ""        # what is run outside, where that is not the same


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

# Raw calls whose arguments are wrong, so that outside nothing happens but the kernel's own complaint about them.
PRIVILEGED = {
    "fspick": "433 -100 bad 0", "fsconfig": "431 -1 9 bad 0 0", "fsmount": "432 -1 0 0", "umount": "166 bad 0", "setdomainname": "171 bad 1",
    "reboot": "169 0 0 0", "settimeofday": "164 bad 0", "adjtimex": "159 bad", "clock_adjtime": "305 0 bad", "delete_module": "176 bad 0",
    "finit_module": "313 -1 bad 0", "kexec_file_load": "320 -1 -1 0 bad 0", "request_key": "249 bad bad bad 0", "swapoff": "168 bad",
    "mbind": "237 0 0 0 0 0 0", "set_mempolicy": "238 0 0 0", "get_mempolicy": "239 0 0 0 0 0", "migrate_pages": "256 0 0 bad bad",
    "process_madvise": "440 -1 bad 0 0 0", "process_mrelease": "448 -1 0", "process_vm_writev": "311 1 bad 1 bad 1 0",
    "quotactl_fd": "443 -1 0 0 bad", "ports: iopl": "172 3", "ports: ioperm": "173 0 1 0", "ustat": "136 -1 bad", "file system types": "139 3",
    "fanotify_mark": "301 -1 0 0 0 0", "set_mempolicy_home_node": "450 0 0 0 0", "robust list of another": "274 1 bad bad",
}
UNKNOWN = {
    "aio": "206 0 bad", "aio submit": "209 0 0 0", "remap_file_pages": "216 1 1 1 1 1", "POSIX message queues": "240 bad 0 0 0",
    "message queues": "68 1 0", "message queues: control": "71 -1 0 0", "memfd_secret": "447 0xffff", "mincore": "27 1 1 bad",
    "cachestat": "451 -1 bad bad 0", "listmount": "458 bad 0 0 0", "statmount": "457 bad 0 0 0", "io_uring_enter": "426 -1 0 0 0 0 0",
    "io_uring_register": "427 -1 0 0 0", "futex2 wait": "455 1 0 0 0 0 0", "futex2 wake": "454 1 0 0 0", "futex2 requeue": "456 bad 0 0 0",
    "lsm_get_self_attr": "459 100 bad bad 0", "lsm_list_modules": "461 bad bad 0", "setxattrat's cousin file_setattr": "469 -1 bad bad 0 0",
}
KERNEL_ANSWERED = ("ok", "EFAULT", "EBADF", "EINVAL", "ENOENT", "ESRCH", "ENAMETOOLONG", "ENOTBLK", "ENODEV", "ENOMEM", "E2BIG", "EOPNOTSUPP")
A_CALLS = [Case(f"the call {name}", f"call {text}", ("EPERM", "ENOSYS"), reached=KERNEL_ANSWERED) for name, text in PRIVILEGED.items()]
A_CALLS += [Case(f"the unknown call {name}", f"call {text}", GONE, reached=KERNEL_ANSWERED) for name, text in UNKNOWN.items()]
A_CALLS += [
    Case("x32 calls", "call 0x40000027", ("signaled 159",), reached=("ok",)),
    Case("the address space's layout by prctl", "call 157 35 1 0 0 0", ("EPERM", "ENOSYS", "EINVAL"), reached=("ok", "EACCES", "EFAULT")),
    Case("core scheduling of others by prctl", "call 157 62 0 1 0 0", ("EPERM", "ENOSYS", "EINVAL"), reached=("ok", "EFAULT", "ESRCH")),
    Case("securebits by prctl", "call 157 28 0 0 0 0", NO, root_may=True), Case("an ambient capability by prctl", "call 157 47 2 21 0 0", NO, reached=("ok", "EPERM")),
    Case("taking no_new_privs back", "call 157 38 0 0 0 0", ("EINVAL",), reached=("EINVAL",)),
    Case("CAP_SYS_ADMIN by capset", "capset", NO), Case("a deadline class", "deadline", NO),
    Case("an I/O class of real time", "call 251 1 0 0x2000", NO), Case("a filter that undoes the first", "looser_filter", NO),
    Case("root's rights to files by setfsuid", "fsuid_root", NO, root_may=True), Case("giving a file away", "give_away", NO, root_may=True),
]

# (level, option) of sockets, by name; outside, root may set each.
OPTIONS = {
    "SO_MARK": "2 2 1 36", "SO_RCVBUFFORCE": "2 2 1 33", "SO_SNDBUFFORCE": "2 2 1 32", "SO_DEBUG": "2 2 1 1",
    "IP_TRANSPARENT": "2 2 0 19", "IPV6_TRANSPARENT": "10 2 41 75", "TCP_REPAIR": "2 1 6 19",
    "SO_ATTACH_BPF": "2 2 1 50", "SO_ATTACH_REUSEPORT_CBPF": "2 2 1 51", "SO_ATTACH_REUSEPORT_EBPF": "2 2 1 52", "UDP_ENCAP": "2 2 17 100",
    "IP_XFRM_POLICY": "2 2 0 17 256", "IPV6_XFRM_POLICY": "10 2 41 35 256", "MCAST_JOIN_GROUP": "2 2 0 42 136", "IP_ADD_SOURCE_MEMBERSHIP": "2 2 0 39 12",
    "IPV6_JOIN_GROUP": "10 2 41 20 20", "netfilter's table": "2 3 0 64 256",
}
A_OPTIONS = [Case(f"the socket option {name}", f"sockopt {text}", ("EPERM", "ENOPROTOOPT", "EPROTONOSUPPORT", "EACCES"), reached=KERNEL_ANSWERED + ("EAFNOSUPPORT", "EADDRNOTAVAIL"))
             for name, text in OPTIONS.items()]
A_OPTIONS += [
    Case("an interface's flags by ioctl", "interface_flags", NO), Case("an interface by netlink", "netlink_change", NO),
    Case("a forged sender on a Unix socket", "forged_sender", NO), Case("zero-copy by a flag", "zero_copy_send", ("EOPNOTSUPP", "EINVAL", "EPERM")),
    Case("a console's ioctl", "terminal_ioctl 0x541C 2", NO, reached=("ok", "ENOTTY", "EINVAL")),
    Case("a console's ioctl with high bits set", "terminal_ioctl 0x10000541C 2", NO, reached=("ok", "ENOTTY", "EINVAL")),
    Case("sharing a file's extents", "share_extents file", ("EOPNOTSUPP", "EPERM"), reached=("ok",)),
    Case("sharing a range of extents", "share_extents range", ("EOPNOTSUPP", "EPERM"), reached=("ok",)),
    Case("finding equal extents", "share_extents dedupe", ("EOPNOTSUPP", "EPERM", "EINVAL"), reached=("ok",)),
    Case("a lease on a file of the system", "lease /usr/lib/os-release", ("EINVAL", "EACCES", "EPERM")),
    Case("notices about a folder of the system", "dnotify /usr/share", ("EINVAL", "EACCES", "EPERM")),
    Case("an immutable file", "immutable", ("EPERM", "EOPNOTSUPP", "ENOTTY")),
]
A_DEVICES = [Case(f"the device {name}", f"open_write /dev/{name}", ("ENOENT",)) for name in (
    "loop-control", "btrfs-control", "fuse", "kvm", "net/tun", "mapper/control", "vhost-net", "uinput", "ppp", "autofs", "hwrng", "snapshot", "userfaultfd",
    "udmabuf", "vda", "loop0", "console", "tty0", "port", "mem")]
# Outside, the same of a process that is the prober's own: PID 1 there may be out of reach for reasons of its own.
A_PID1 = [Case(f"PID 1's {name}", f"{how} /proc/1/{name}", HIDDEN, reached=("ok", "ETXTBSY"), control=f"{how} /proc/self/{name}") for name, how in {
    "exe": "open_write", "root/etc/passwd": "read", "cwd/etc/passwd": "read", "mem": "open_write", "auxv": "read", "syscall": "read", "stack": "read",
    "cmdline": "read", "status": "read", "mountinfo": "read", "fdinfo/0": "read", "io": "read", "smaps": "read", "timers": "read", "uid_map": "open_write",
    "oom_adj": "open_write", "comm": "open_write", "setgroups": "open_write", "net/tcp": "read", "attr/current": "read"}.items()]
A_WRITES = [Case(f"{what} by /proc", f"write_text {path} {text}", ("EACCES", "EPERM", "EROFS", "ENOENT", "EINVAL")) for what, path, text in (
    ("saving itself from the OOM killer", "/proc/self/oom_score_adj", "-1000"), ("a core pattern", "/proc/sys/kernel/core_pattern", "core"),
    ("address randomisation", "/proc/sys/kernel/randomize_va_space", "2"), ("a new id map", "/proc/self/uid_map", "0"),
    ("dropping caches", "/proc/sys/vm/drop_caches", "0"), ("overcommit", "/proc/sys/vm/overcommit_memory", "0"),
    ("inotify's limits", "/proc/sys/fs/inotify/max_user_instances", "128"), ("forwarding", "/proc/sys/net/ipv4/ip_forward", "0"),
    ("more namespaces", "/proc/sys/user/max_user_namespaces", "100"), ("panic on oops", "/proc/sys/kernel/panic_on_oops", "0"))]

A_FILES = [Case(f"reading {path}", f"read {path}", HIDDEN) for path in (
    "/proc/kallsyms", "/proc/cmdline", "/proc/config.gz", "/proc/keys", "/proc/interrupts", "/proc/iomem", "/proc/kcore",
    "/proc/kmsg", "/proc/sched_debug", "/proc/timer_list", "/proc/slabinfo", "/proc/vmallocinfo", "/proc/modules", "/dev/kmsg",
    "/dev/mem", "/sys/kernel/notes", "/sys/class/dmi/id/product_name")]
A_FILES += [Case(f"reading /proc/1/{name}", f"read /proc/1/{name}", HIDDEN, control=f"read /proc/self/{name}") for name in ("environ", "maps")]
A_FILES += [Case(f"writing {path}", f"open_write {path}", ("ENOENT", "EACCES", "EPERM", "EROFS")) for path in (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/user/max_user_namespaces", "/proc/sysrq-trigger",
    "/proc/1/oom_score_adj", "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/fs/cgroup/cgroup.procs", "/usr/bin/env")]

KERNEL_SURFACE = (A_NAMESPACES + A_PROCESSES + A_SOCKETS + A_OTHER + A_CALLS + A_OPTIONS + A_DEVICES + A_PID1 + A_WRITES + A_FILES)
