// Socket families and options: the largest part of the kernel that an ordinary program can reach.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "probe.h"

static int make(int argc, char** argv) {
    if (argc < 3) return EINVAL;
    const int fd = socket((int)strtol(argv[0], NULL, 0), (int)strtol(argv[1], NULL, 0), (int)strtol(argv[2], NULL, 0));
    if (fd >= 0) close(fd);
    return verdict(fd);
}

static int with_socket(int type, int level, int option, const void* value, socklen_t size) {
    const int fd = socket(AF_INET, type, 0);
    if (fd < 0) return errno;
    const int result = verdict(setsockopt(fd, level, option, value, size));
    close(fd);
    return result;
}

static int attach_filter(int argc, char** argv) {
    (void)argc, (void)argv;
    struct sock_filter accept_all = {BPF_RET | BPF_K, 0, 0, 0xffff};
    struct sock_fprog program = {1, &accept_all};
    return with_socket(SOCK_DGRAM, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

static int zero_copy(int argc, char** argv) {
    (void)argc, (void)argv;
    const int on = 1;
    return with_socket(SOCK_STREAM, SOL_SOCKET, 60 /* SO_ZEROCOPY */, &on, sizeof on);
}

static int join_group(int argc, char** argv) {
    (void)argc, (void)argv;
    struct ip_mreq group = {.imr_multiaddr.s_addr = inet_addr("224.0.0.251"), .imr_interface.s_addr = inet_addr("127.0.0.1")};
    const int result = with_socket(SOCK_DGRAM, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group);
    return result == ENODEV ? 0 : result;  // the kernel looked for the interface: it was let through
}

// ULP needs an established connection; ENOTCONN is the kernel's own answer, after the filter.
static int tls_ulp(int argc, char** argv) {
    (void)argc, (void)argv;
    const int result = with_socket(SOCK_STREAM, IPPROTO_TCP, TCP_ULP, "tls", 3);
    return result == ENOTCONN || result == ENOENT ? 0 : result;
}

static int xfrm_policy(int argc, char** argv) {
    (void)argc, (void)argv;
    char policy[256] = {0};
    const int result = with_socket(SOCK_DGRAM, IPPROTO_IP, 17 /* IP_XFRM_POLICY */, policy, sizeof policy);
    return result == EINVAL || result == EOPNOTSUPP ? 0 : result;  // xfrm's own words
}

static int out_of_band(int argc, char** argv) {
    (void)argc, (void)argv;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return errno;
    const int result = verdict(send(pair[0], "x", 1, MSG_OOB));
    close(pair[0]);
    close(pair[1]);
    return result;
}

static int connect_tcp(int argc, char** argv) {
    if (argc < 2) return EINVAL;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtol(argv[1], NULL, 10))};
    if (inet_pton(AF_INET, argv[0], &address.sin_addr) != 1) return EINVAL;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    struct timeval patience = {.tv_sec = 3};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    const int result = verdict(connect(fd, (struct sockaddr*)&address, sizeof address));
    close(fd);
    return result;
}

static int connect_abstract(int argc, char** argv) {
    if (argc < 1) return EINVAL;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t length = strlen(argv[0]);
    if (length + 1 > sizeof address.sun_path) return EINVAL;
    memcpy(address.sun_path + 1, argv[0], length);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    return verdict(connect(fd, (struct sockaddr*)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)));
}

const struct probe socket_probes[] = {
    {"socket", make}, {"so_attach_filter", attach_filter}, {"so_zerocopy", zero_copy}, {"multicast_join", join_group},
    {"tcp_ulp", tls_ulp}, {"xfrm_policy", xfrm_policy}, {"msg_oob", out_of_band}, {"connect_tcp", connect_tcp},
    {"connect_abstract", connect_abstract}, {NULL, NULL},
};
