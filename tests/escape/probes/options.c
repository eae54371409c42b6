// Options, ioctls and claims: doors that are inside of a system call that itself is allowed.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probe.h"

// sockopt DOMAIN TYPE LEVEL OPTION [SIZE]: sets it to 1 (or SIZE bytes that begin with 1).
static int set_option(int argc, char** argv) {
    if (argc < 4) return EINVAL;
    char value[512] = {1};
    const int fd = socket((int)strtol(argv[0], NULL, 0), (int)strtol(argv[1], NULL, 0), 0);
    if (fd < 0) return errno;
    const socklen_t size = argc > 4 ? (socklen_t)strtol(argv[4], NULL, 0) : sizeof(int);
    return verdict(setsockopt(fd, (int)strtol(argv[2], NULL, 0), (int)strtol(argv[3], NULL, 0), value, size));
}

static int get_option(int argc, char** argv) {
    if (argc < 4) return EINVAL;
    char value[512] = {0};
    socklen_t size = argc > 4 ? (socklen_t)strtol(argv[4], NULL, 0) : sizeof value;
    const int fd = socket((int)strtol(argv[0], NULL, 0), (int)strtol(argv[1], NULL, 0), 0);
    if (fd < 0) return errno;
    return verdict(getsockopt(fd, (int)strtol(argv[2], NULL, 0), (int)strtol(argv[3], NULL, 0), value, &size));
}

// sockets: every family, type and protocol that can be had, one line, "family/type/protocol ...".
static int matrix(int argc, char** argv) {
    (void)argc, (void)argv;
    static const int kProtocols[] = {0, 1, 2, 4, 6, 17, 33, 41, 47, 50, 58, 103, 115, 132, 136, 255, 262};
    static const int kTypes[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET, SOCK_DCCP, SOCK_PACKET};
    for (int family = 0; family <= 50; ++family) {
        for (size_t t = 0; t < sizeof kTypes / sizeof *kTypes; ++t) {
            for (size_t p = 0; p < sizeof kProtocols / sizeof *kProtocols; ++p) {
                const int fd = socket(family, kTypes[t], kProtocols[p]);
                if (fd < 0) continue;
                printf("%d/%d/%d ", family, kTypes[t], kProtocols[p]);
                close(fd);
            }
        }
    }
    puts("");
    _exit(0);
}

// Sets the flags of the loopback interface to what they are: nothing changes, but it takes CAP_NET_ADMIN over this netns.
static int interface_flags(int argc, char** argv) {
    (void)argc, (void)argv;
    struct ifreq request = {.ifr_name = "lo"};
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) != 0) return errno;
    return verdict(ioctl(fd, SIOCSIFFLAGS, &request));
}

static int netlink_change(int argc, char** argv) {
    (void)argc, (void)argv;
    struct {
        struct nlmsghdr header;
        struct ifinfomsg body;
    } ask = {.header = {.nlmsg_len = sizeof ask, .nlmsg_type = RTM_NEWLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
             .body = {.ifi_index = 1}};
    struct {
        struct nlmsghdr header;
        struct nlmsgerr body;
        char rest[256];
    } answer;
    const int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    if (fd < 0 || send(fd, &ask, sizeof ask, 0) < 0 || recv(fd, &answer, sizeof answer, 0) < 0) return errno;
    return -answer.body.error;
}

// Says to the peer that PID 1 or root of this namespace sends.
static int forged_sender(int argc, char** argv) {
    (void)argc, (void)argv;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) != 0) return errno;
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(struct ucred))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(struct ucred)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS}};
    const struct ucred claim = {.pid = 1, .uid = 4242, .gid = 4242};
    memcpy(CMSG_DATA(&control.header), &claim, sizeof claim);
    char byte = 0;
    struct iovec part = {&byte, 1};
    const struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    return verdict(sendmsg(pair[0], &message, 0));
}

static int zero_copy_send(int argc, char** argv) {
    (void)argc, (void)argv;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return errno;
    return verdict(send(pair[0], "x", 1, 0x4000000 /* MSG_ZEROCOPY: ignored by AF_UNIX, so outside it gets through */));
}

static int fresh_file(const char* path) { return open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600); }

// clone_range KIND: extents shared between two files of ours.
static int share_extents(int argc, char** argv) {
    const char* kind = argc > 0 ? argv[0] : "file";
    static char page[65536];
    const int from = fresh_file("probe-clone-a"), to = fresh_file("probe-clone-b");
    int result = from < 0 || to < 0 || write(from, page, sizeof page) < 0 || write(to, page, sizeof page) < 0 ? errno : 0;
    if (result == 0 && strcmp(kind, "file") == 0) result = verdict(ioctl(to, FICLONE, from));
    if (result == 0 && strcmp(kind, "range") == 0) {
        const struct file_clone_range range = {.src_fd = from, .src_length = sizeof page};
        result = verdict(ioctl(to, FICLONERANGE, &range));
    }
    if (result == 0 && strcmp(kind, "dedupe") == 0) {
        union {
            struct file_dedupe_range head;
            char room[sizeof(struct file_dedupe_range) + sizeof(struct file_dedupe_range_info)];
        } range = {.head = {.src_length = sizeof page, .dest_count = 1}};
        range.head.info[0].dest_fd = to;
        result = verdict(ioctl(from, FIDEDUPERANGE, &range));
    }
    unlink("probe-clone-a");
    unlink("probe-clone-b");
    return result;
}

static int immutable(int argc, char** argv) {
    (void)argc, (void)argv;
    int flags = 0;
    const int fd = fresh_file("probe-flags");
    if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0) return errno;
    int wanted = flags | FS_IMMUTABLE_FL;
    const int result = verdict(ioctl(fd, FS_IOC_SETFLAGS, &wanted));
    ioctl(fd, FS_IOC_SETFLAGS, &flags);
    unlink("probe-flags");
    return result;
}

// ioctl PATH REQUEST: with a zeroed kilobyte as its argument.
static int plain_ioctl(int argc, char** argv) {
    if (argc < 2) return EINVAL;
    static char argument[4096];
    const int fd = open(argv[0], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    return fd < 0 ? errno : verdict(ioctl(fd, strtoul(argv[1], NULL, 0), argument));
}

// terminal_ioctl REQUEST VALUE: on a terminal of ours, by its slave side.
static int terminal_ioctl(int argc, char** argv) {
    if (argc < 2) return EINVAL;
    const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) return errno;
    const int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0) return errno;
    int value = (int)strtol(argv[1], NULL, 0);
    return verdict(syscall(SYS_ioctl, slave, strtoul(argv[0], NULL, 0), &value));
}

// write_text PATH TEXT
static int write_text(int argc, char** argv) {
    if (argc < 2) return EINVAL;
    const int fd = open(argv[0], O_WRONLY | O_CLOEXEC);
    return fd < 0 ? errno : verdict(write(fd, argv[1], strlen(argv[1])));
}

// A filter of one's own that allows everything must not undo the one that was there.
static int looser_filter(int argc, char** argv) {
    (void)argc, (void)argv;
    struct sock_filter allow = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
    struct sock_fprog program = {1, &allow};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return errno;
    return verdict(syscall(SYS_setns, open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC), 0));
}

static int file_system_root(int argc, char** argv) {
    (void)argc, (void)argv;
    setfsuid(0);
    return setfsuid((uid_t)-1) == 0 ? 0 : EPERM;
}

static int give_away(int argc, char** argv) {
    (void)argc, (void)argv;
    const int fd = fresh_file("probe-owner");
    const int result = fd < 0 ? errno : verdict(fchown(fd, 4242, 4242));
    unlink("probe-owner");
    return result;
}

static int earliest_deadline(int argc, char** argv) {
    (void)argc, (void)argv;
    const struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attr = {.size = 48, .policy = 6, .runtime = 1000000, .deadline = 100000000, .period = 100000000};
    return verdict(syscall(SYS_sched_setattr, 0, &attr, 0));
}

static int inheritable_capability(int argc, char** argv) {
    (void)argc, (void)argv;
    unsigned header[2] = {0x20080522, 0}, data[6] = {0};
    if (syscall(SYS_capget, header, data) != 0) return errno;
    data[0] |= 1U << 21;  // CAP_SYS_ADMIN, effective
    data[1] |= 1U << 21;  // permitted
    return verdict(syscall(SYS_capset, header, data));
}

const struct probe option_probes[] = {
    {"sockopt", set_option}, {"getsockopt", get_option}, {"sockets", matrix}, {"interface_flags", interface_flags},
    {"netlink_change", netlink_change}, {"forged_sender", forged_sender}, {"zero_copy_send", zero_copy_send},
    {"share_extents", share_extents}, {"immutable", immutable}, {"ioctl", plain_ioctl}, {"terminal_ioctl", terminal_ioctl},
    {"write_text", write_text}, {"looser_filter", looser_filter}, {"fsuid_root", file_system_root}, {"give_away", give_away},
    {"deadline", earliest_deadline}, {"capset", inheritable_capability}, {NULL, NULL},
};
