// Memory in the kernel's queues: bytes that nobody reads, and descriptors that are under way.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "probe.h"

static char block[65536];

static void widen(int fd) {
    const int most = 64 << 20;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &most, sizeof most);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &most, sizeof most);
}

static int unix_pair(int type, int pair[2]) {
    if (socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, pair) != 0) return errno;
    widen(pair[0]);
    widen(pair[1]);
    return 0;
}

static int loopback_pair(int type, int pair[2]) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    const int server = socket(AF_INET, type, 0);
    pair[0] = socket(AF_INET, type, 0);
    if (server < 0 || pair[0] < 0) return errno;
    widen(server);
    widen(pair[0]);
    if (bind(server, (struct sockaddr*)&address, size) != 0 || getsockname(server, (struct sockaddr*)&address, &size) != 0) return errno;
    if (type == SOCK_STREAM && listen(server, 1) != 0) return errno;
    if (connect(pair[0], (struct sockaddr*)&address, size) != 0) return errno;
    pair[1] = type == SOCK_STREAM ? accept(server, NULL, NULL) : server;
    if (type == SOCK_STREAM) close(server);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    return pair[1] < 0 ? errno : 0;
}

static int new_pair(const char* kind, int pair[2]) {
    if (strcmp(kind, "stream") == 0) return unix_pair(SOCK_STREAM, pair);
    if (strcmp(kind, "datagram") == 0) return unix_pair(SOCK_DGRAM, pair);
    if (strcmp(kind, "tcp") == 0) return loopback_pair(SOCK_STREAM, pair);
    if (strcmp(kind, "udp") == 0) return loopback_pair(SOCK_DGRAM, pair);
    return EINVAL;
}

static int say(long count, int refused, int hold) {
    char line[64];
    const int length = snprintf(line, sizeof line, "%ld %s\n", count, refused == 0 ? "ok" : strerrorname_np(refused));
    if (write(1, line, (size_t)length) != length) return EIO;
    while (hold) pause();
    _exit(refused != 0);
}

// queue KIND MIB [hold]: fills socket buffers that nobody reads, one pair after the other; says how many MiB went in.
static int queue(int argc, char** argv) {
    if (argc < 2) return EINVAL;
    const size_t wanted = (size_t)strtol(argv[1], NULL, 10) << 20;
    const size_t piece = strcmp(argv[0], "udp") == 0 || strcmp(argv[0], "datagram") == 0 ? 32768 : sizeof block;
    memset(block, 1, sizeof block);
    size_t taken = 0;
    int refused = 0;
    while (taken < wanted && refused == 0) {
        int pair[2];
        if ((refused = new_pair(argv[0], pair)) != 0) break;
        size_t before = taken;
        ssize_t n;
        // UDP drops what does not fit and says nothing: at most 1 MiB is counted for each pair.
        while (taken < wanted && taken - before < (64U << 20) && (n = send(pair[0], block, piece, MSG_NOSIGNAL)) > 0) {
            taken += (size_t)n;
            if (strcmp(argv[0], "udp") == 0 && taken - before >= (1U << 20)) break;
        }
        if (taken == before) refused = errno;
    }
    return say((long)(taken >> 20), refused, argc > 2);
}

static int send_copies(int socket, int fd, int copies) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(253 * sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = CMSG_SPACE((size_t)copies * sizeof(int))};
    struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN((size_t)copies * sizeof(int));
    for (int i = 0; i < copies; ++i) memcpy(CMSG_DATA(header) + (size_t)i * sizeof(int), &fd, sizeof fd);
    return sendmsg(socket, &message, MSG_DONTWAIT) < 0 ? errno : 0;
}

// in_flight MAX [hold]: descriptors that were sent and never received; each pair is itself sent into the next one, so
// that the kernel's garbage collector has a chain to walk.
static int in_flight(int argc, char** argv) {
    if (argc < 1) return EINVAL;
    const long most = strtol(argv[0], NULL, 10);
    long sent = 0;
    int refused = 0, last = -1;
    while (sent < most && refused == 0) {
        int pair[2];
        if ((refused = unix_pair(SOCK_DGRAM, pair)) != 0) break;
        const int what = last < 0 ? open("/dev/null", O_RDONLY) : last;
        while (sent < most && (refused = send_copies(pair[0], what, 253)) == 0) sent += 253;
        if (refused == EAGAIN) refused = 0;
        close(what);
        close(pair[0]);
        last = pair[1];
    }
    return say(sent, refused, argc > 1);
}

// netlink MAX [hold]: dumps that are asked for and not read.
static int netlink_dumps(int argc, char** argv) {
    if (argc < 1) return EINVAL;
    const long most = strtol(argv[0], NULL, 10);
    long opened = 0;
    int refused = 0;
    for (; opened < most && refused == 0; ++opened) {
        const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE);
        struct {
            struct nlmsghdr header;
            struct rtgenmsg body;
        } ask = {.header = {.nlmsg_len = sizeof ask, .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
        if (fd < 0 || send(fd, &ask, sizeof ask, 0) < 0) refused = errno;
    }
    return say(refused == 0 ? opened : opened - 1, refused, argc > 1);
}

const struct probe queue_probes[] = {{"queue", queue}, {"in_flight", in_flight}, {"netlink_dumps", netlink_dumps}, {NULL, NULL}};
