// What a socket can be, and where it leads.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "isolation/probe/finding.hpp"

namespace sandboxd::probe {

namespace {

void try_socket(Finding& finding, const char* what, int family, int type, int protocol) {
    const int fd = ::socket(family, type | SOCK_CLOEXEC, protocol);
    finding.attempt(what, fd, {EPERM, EACCES, ENOSYS, EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT});
    if (fd >= 0) ::close(fd);
}

void raw_sockets(Finding& finding, const Limits&) {
    constexpr int kSctp = 132;
    try_socket(finding, "ipv4", AF_INET, SOCK_RAW, IPPROTO_ICMP);
    try_socket(finding, "ipv6", AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
    try_socket(finding, "packet", AF_PACKET, SOCK_RAW, 0);
    try_socket(finding, "ping", AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    try_socket(finding, "sctp", AF_INET, SOCK_SEQPACKET, kSctp);
}

void socket_families(Finding& finding, const Limits&) {
    constexpr int kFamilies = 46;  // one past the last that kernels know
    constexpr int kNetlinkProtocols = 22;
    int refused = 0;
    for (int family = 0; family < kFamilies; ++family) {
        if (family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK) continue;
        for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET}) {
            const int fd = ::socket(family, type | SOCK_CLOEXEC, 0);
            if (fd >= 0) finding.bad("family %d type %d got through", family, type);
            if (fd >= 0) ::close(fd);
        }
        ++refused;
    }
    for (int protocol = 1; protocol < kNetlinkProtocols; ++protocol) {
        const int fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
        if (fd >= 0) finding.bad("netlink protocol %d got through", protocol);
        if (fd >= 0) ::close(fd);
    }
    finding.good("%d families and every netlink protocol but route refused", refused);
}

struct Option {
    const char* name;
    int family;
    int type;
    int level;
    int option;
};
// The numbers are the kernel's: libc's headers lack some.
constexpr Option kOptions[] = {
    {"TCP_ULP", AF_INET, SOCK_STREAM, IPPROTO_TCP, 31},        {"SO_ATTACH_FILTER", AF_INET, SOCK_DGRAM, SOL_SOCKET, 26},
    {"SO_ATTACH_BPF", AF_INET, SOCK_DGRAM, SOL_SOCKET, 50},    {"SO_ZEROCOPY", AF_INET, SOCK_STREAM, SOL_SOCKET, 60},
    {"UDP_ENCAP", AF_INET, SOCK_DGRAM, IPPROTO_UDP, 100},      {"IP_XFRM_POLICY", AF_INET, SOCK_DGRAM, IPPROTO_IP, 17},
    {"IP_ADD_MEMBERSHIP", AF_INET, SOCK_DGRAM, IPPROTO_IP, 35}, {"IPV6_JOIN_GROUP", AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, 20},
};

void socket_options(Finding& finding, const Limits&) {
    for (const Option& each : kOptions) {
        const int fd = ::socket(each.family, each.type | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            finding.good("%s: no such socket", each.name);
            continue;
        }
        finding.attempt(each.name, ::setsockopt(fd, each.level, each.option, "", 0), {ENOPROTOOPT, EPERM, ENOSYS});
        ::close(fd);
    }
}

// A pipe is no terminal: only a filter knows the request before it knows that. The kernel reads 32 bits of it.
void terminal_injection(Finding& finding, const Limits&) {
    constexpr unsigned long kHighBit = 1UL << 32;
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) return finding.bad("no pipe");
    char byte = 'x';
    finding.attempt("TIOCSTI", ::ioctl(fds[0], TIOCSTI, &byte), {EPERM, ENOSYS});
    finding.attempt("TIOCSTI with a high bit", ::ioctl(fds[0], TIOCSTI | kHighBit, &byte), {EPERM, ENOSYS});
    finding.attempt("TIOCLINUX", ::ioctl(fds[0], TIOCLINUX, &byte), {EPERM, ENOSYS});
    ::close(fds[0]);
    ::close(fds[1]);
}

void interfaces(Finding& finding) {
    FILE* const table = ::fopen("/proc/net/dev", "re");
    if (table == nullptr) return finding.bad("/proc/net/dev can't be read");
    char line[512];
    int number = 0;
    while (::fgets(line, sizeof line, table) != nullptr) {
        char name[32];
        if (++number <= 2 || ::sscanf(line, " %31[^:]:", name) != 1) continue;  // two lines of titles
        if (::strcmp(name, "lo") != 0) finding.bad("interface %s", name);
    }
    ::fclose(table);
    finding.good("no interface but lo");
}

void network(Finding& finding, const Limits&) {
    interfaces(finding);
    // A packet to TEST-NET-1 (RFC 5737), which nobody has. Connecting a datagram socket sends nothing.
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return finding.good("no IPv4 sockets at all");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(9);
    address.sin_addr.s_addr = htonl(0xc0000201);
    finding.attempt("192.0.2.1", ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), {ENETUNREACH, EPERM, EACCES, ENOSYS});
    ::close(fd);
}

}  // namespace

const WallAttempt kSocketAttempts[] = {
    {Wall::raw_sockets, raw_sockets},       {Wall::socket_families, socket_families}, {Wall::socket_options, socket_options},
    {Wall::terminal_injection, terminal_injection}, {Wall::network, network},         {Wall::count, nullptr},
};

}  // namespace sandboxd::probe
