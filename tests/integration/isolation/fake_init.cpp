// A stand-in for sandbox-init: takes the plan as that does and then does what the plan's host name
// says. It confines nothing, so what it tells of itself is what the daemon's side alone has made of
// it.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "isolation/launch_plan.hpp"

using namespace sandboxd::isolation;

namespace {

std::vector<std::byte> buffer(kMaxPlanBytes);
std::vector<int> fds;

std::size_t receive_plan() {
    iovec iov{buffer.data(), buffer.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 64)];
    msghdr message{};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t n = ::recvmsg(kSetupSocket, &message, MSG_CMSG_CLOEXEC);
    if (n <= 0) ::_exit(40);
    for (cmsghdr* h = CMSG_FIRSTHDR(&message); h != nullptr; h = CMSG_NXTHDR(&message, h)) {
        const std::size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        fds.resize(count);
        std::memcpy(fds.data(), CMSG_DATA(h), count * sizeof(int));
    }
    return static_cast<std::size_t>(n);
}

void report(Stage stage, int error) {
    std::byte bytes[64];
    sandboxd::wire::Writer writer{bytes, sizeof bytes};
    if (!writer(SetupReport{stage, error, Walls{}})) ::_exit(41);
    if (::write(kSetupSocket, bytes, writer.size()) < 0) ::_exit(42);
}

void append_file(std::string& out, const char* path) {
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    char chunk[4096];
    for (ssize_t n = 0; (n = ::read(fd, chunk, sizeof chunk)) > 0;)
        out.append(chunk, static_cast<std::size_t>(n));
    ::close(fd);
}

// What the tests look at: the descriptors it was born with (before the plan), its ids, and the
// cgroups as it sees them.
std::string describe(const std::string& first_fds, const LaunchPlan& plan) {
    std::string out = "fds " + first_fds + "\n";
    out += "pid " + std::to_string(::getpid()) + " uid " + std::to_string(::getuid()) + " gid " +
           std::to_string(::getgid()) + " groups " + std::to_string(::getgroups(0, nullptr)) + "\n";
    out += "environment " + std::to_string(environ[0] == nullptr ? 0 : 1) + "\n";
    for (std::size_t i = 0; i < plan.fd_roles.size(); ++i) {
        struct stat root {};
        ::fstat(fds[i], &root);
        out += "role " + std::to_string(plan.fd_roles[i]) + " owner " +
               std::to_string(root.st_uid) + "\n";
    }
    const int made = ::openat(fds[0], "u/made", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    out += "upper " + std::string{made >= 0 ? "written" : std::strerror(errno)} + "\n";
    const int refused = ::openat(fds[1], "made", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    out += "lower " + std::string{refused >= 0 ? "written" : std::strerror(errno)} + "\n";
    append_file(out, "/proc/self/cgroup");
    append_file(out, "/proc/self/status");
    return out;
}

std::string open_fds() {
    std::string out;
    DIR* folder = ::opendir("/proc/self/fd");
    while (const dirent* entry = ::readdir(folder)) {
        if (entry->d_name[0] != '.' && std::atoi(entry->d_name) != ::dirfd(folder)) {
            out += std::string{out.empty() ? "" : ","} + entry->d_name;
        }
    }
    ::closedir(folder);
    return out;
}

void serve(int listener, const std::string& text) {
    for (;;) {
        const int client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (client < 0) ::_exit(43);
        (void)!::write(client, text.data(), text.size());
        ::close(client);
    }
}

}  // namespace

int main() {
    const std::string first_fds = open_fds();
    const std::size_t size = receive_plan();
    sandboxd::wire::Reader reader{buffer.data(), size};
    LaunchPlan plan;
    if (!reader(plan) || !reader.done() || plan.magic != kPlanMagic ||
        plan.fd_roles.size() != fds.size())
        ::_exit(44);

    if (plan.hostname == "die") ::_exit(45);
    if (plan.hostname == "hang") {
        for (;;) ::pause();
    }
    if (plan.hostname == "fail") {
        report(Stage::root_overlay, ENOSPC);
        ::_exit(1);
    }
    if (plan.hostname == "garbage") {
        (void)!::write(kSetupSocket, "neither", 7);
        for (;;) ::pause();
    }
    if (plan.hostname == "early") {  // a stage that is not the last, and no error
        report(Stage::pivot, 0);
        for (;;) ::pause();
    }
    const std::string text = describe(first_fds, plan);
    report(Stage::ready, 0);
    ::close(kSetupSocket);
    for (std::size_t i = 0; i < fds.size(); ++i) {
        if (plan.fd_roles[i] == static_cast<char>(FdRole::agent_listener)) serve(fds[i], text);
    }
    ::_exit(46);
}
