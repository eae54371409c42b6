// The controls: the same program and the same looks, where there is no jail. What holds nowhere proves something there.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "sandboxd/attest/inspection.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/sys.hpp"

using namespace sandboxd;
using namespace sandboxd::attest;

namespace {

// Output of a command of the shell.
std::string output_of(const std::string& command) {
    FILE* const pipe = ::popen(command.c_str(), "re");
    REQUIRE(pipe != nullptr);
    std::string out;
    std::array<char, 4096> buffer{};
    while (const std::size_t n = ::fread(buffer.data(), 1, buffer.size(), pipe)) out.append(buffer.data(), n);
    ::pclose(pipe);
    return out;
}

struct Line {
    std::string status;
    std::string observed;
};
std::map<std::string, Line> tried_outside() {
    char folder[] = "/var/tmp/sandboxd-test-probe-XXXXXX";
    REQUIRE(::mkdtemp(folder) != nullptr);
    std::istringstream lines{output_of(std::string{"cd "} + folder + " && ulimit -c unlimited && " SANDBOX_PROBE " show 16777216 16")};
    std::filesystem::remove_all(folder);
    std::map<std::string, Line> out;
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words{line};
        std::string name;
        Line rest;
        words >> name >> rest.status;
        std::getline(words, rest.observed);
        out[name] = rest;
    }
    return out;
}

int exit_status_of(const std::vector<std::string>& arguments, int descriptor) {
    const pid_t child = ::fork();
    if (child == 0) {
        (void)::dup2(descriptor, 3);
        std::vector<char*> argv;
        for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
        argv.push_back(nullptr);
        ::execv(argv[0], argv.data());
        ::_exit(255);
    }
    int status = 0;
    (void)::waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}

}  // namespace

TEST_CASE("outside of a jail, as root, what is tried gets through") {
    if (::geteuid() != 0) {
        WARN("needs root");
        std::exit(77);
    }
    const auto tried = tried_outside();
    // Where this kernel itself has no such thing, there is nothing to get through to.
    const std::set<std::string> may_lack{"kernel_modules", "keyrings", "bpf", "perf_events", "io_uring", "userfaultfd", "landlock"};
    std::size_t expected = 0;
    for (const isolation::WallInfo& info : isolation::kTestedWalls) {
        // memory_limit is a program of its own: below.
        if (info.seen != isolation::Seen::tried_inside || info.wall == Wall::memory_limit) continue;
        ++expected;
        const auto found = tried.find(std::string{info.name});
        REQUIRE(found != tried.end());
        INFO(info.name << ' ' << found->second.status << found->second.observed);
        const bool lacks = may_lack.contains(found->first) && found->second.observed.find("ENOSYS") != std::string::npos;
        if (info.required && !lacks) CHECK(found->second.status == "broken");
        if (info.wall == Wall::landlock) CHECK(found->second.status == "absent");
    }
    CHECK(tried.size() == expected);
}

TEST_CASE("without a limit memory is used, and without a jail's namespace another one can be made") {
    const Fd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
    CHECK(exit_status_of({SANDBOX_PROBE, "memory", std::to_string(16 << 20)}, null.get()) == 0);

    // A user namespace with no limit above it: unshare gets as far as the check of the ids (EPERM), or through.
    int ready[2];
    REQUIRE(::pipe2(ready, O_CLOEXEC) == 0);
    const pid_t holder = ::fork();
    if (holder == 0) {
        if (::unshare(CLONE_NEWUSER) != 0) ::_exit(1);
        (void)!::write(ready[1], "r", 1);
        ::pause();
        ::_exit(0);
    }
    char byte = 0;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    const Fd userns{::open(("/proc/" + std::to_string(holder) + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC)};
    REQUIRE(userns.valid());
    const int status = exit_status_of({SANDBOX_PROBE, "--nested-userns"}, userns.get());
    (void)::kill(holder, SIGKILL);
    (void)::waitpid(holder, nullptr, 0);
    INFO(status);
    CHECK((status == 0 || status == EPERM));
    CHECK(exit_status_of({SANDBOX_PROBE, "--nested-userns"}, null.get()) == 250);
}

TEST_CASE("looked at from outside, a process of the host is in no jail") {
    // Something that no jail may hold: this process has it, whatever started it.
    const Fd held{::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    for (const WallFinding& finding : inspect(::getpid(), isolation::IdMap{1U << 28}, "/proc")) {
        INFO(isolation::wall_info(finding.wall).name << ": " << finding.observed);
        if (isolation::wall_info(finding.wall).required) CHECK(finding.status == WallStatus::broken);
    }
}

TEST_CASE("a process that is not there has no walls") {
    for (const WallFinding& finding : inspect(0x7ffffff0, isolation::IdMap{1U << 28}, "/proc")) {
        INFO(isolation::wall_info(finding.wall).name << ": " << finding.observed);
        if (isolation::wall_info(finding.wall).required) CHECK(finding.status == WallStatus::broken);
    }
}

TEST_CASE("the conductor does nothing with rights: root's ids are refused") {
    int status = 0;
    const pid_t child = ::fork();
    if (child == 0) {
        int pair[2];
        if (::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0) ::_exit(3);
        (void)::dup2(pair[0], 3);
        (void)::dup2(pair[0], 4);
        ::close(pair[1]);
        ::signal(SIGPIPE, SIG_IGN);
        ::execl(SANDBOX_PROBE, SANDBOX_PROBE, "--conduct", "0", "0", "1", "1", "1", "root", nullptr);
        ::_exit(2);
    }
    (void)::waitpid(child, &status, 0);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 1);
}
