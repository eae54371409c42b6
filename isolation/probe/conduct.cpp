#include "isolation/probe/conduct.hpp"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "isolation/probe/agent_talk.hpp"
#include "isolation/probe/confine.hpp"
#include "isolation/probe/report.hpp"
#include "isolation/tested_walls.hpp"

namespace sandboxd::probe {

using Wall = isolation::TestedWall;
using isolation::WallReport;
using isolation::WallStatus;

namespace {

constexpr unsigned kMostSeconds = 30;  // the whole conversation: a jail that hangs ends it
constexpr std::uint32_t kUser = 1000;
constexpr const char* kName = "sandbox-probe";

// The file that comes with the first exec: this program. Made while calls that make files are still allowed.
int program_file() {
    struct stat st {};
    if (::fstat(kProgramFd, &st) != 0) return -1;
    const auto size = static_cast<std::size_t>(st.st_size);
    const void* const program = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, kProgramFd, 0);
    const std::size_t room = size + 256;
    const int memfd = ::memfd_create("files", MFD_CLOEXEC);
    if (program == MAP_FAILED || memfd < 0 || ::ftruncate(memfd, static_cast<off_t>(room)) != 0) return -1;
    void* const out = ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    if (out == MAP_FAILED) return -1;
    wire::Writer writer{static_cast<std::byte*>(out), room};
    agent::FileRecord record;
    record.mode = 0755;
    record.path = kName;
    record.content = {static_cast<const char*>(program), size};
    const bool written = writer(record);
    ::munmap(out, room);
    ::munmap(const_cast<void*>(program), size);
    return written && ::ftruncate(memfd, static_cast<off_t>(writer.size())) == 0 ? memfd : -1;
}

// argv as the protocol has it: each string with its NUL.
class Arguments {
public:
    Arguments() { add("/home/user/sandbox-probe"); }
    Arguments& add(const char* text) {
        const std::size_t size = ::strlen(text) + 1;
        if (size > sizeof data_ - size_) ::abort();  // a constant list
        ::memcpy(data_ + size_, text, size);
        size_ += size;
        return *this;
    }
    Arguments& add(unsigned long number) {
        char text[24];
        (void)::snprintf(text, sizeof text, "%lu", number);
        return add(text);
    }
    [[nodiscard]] std::string_view view() const { return {data_, size_}; }

private:
    char data_[160];
    std::size_t size_ = 0;
};

agent::Exec exec_of(std::uint64_t number, std::uint32_t id, const Arguments& arguments) {
    agent::Exec exec;
    exec.exec = number;
    exec.uid = exec.gid = id;
    exec.timeout_ms = kMostSeconds * 1000;
    exec.flags = agent::kTimeoutKills;
    exec.cwd = "/home/user";
    exec.argv = arguments.view();
    return exec;
}

// What the program writes, until it ends or says that it has written all.
bool read_reports(int fd, Reports& reports, bool as_root) {
    static char text[16 * 1024];
    std::size_t size = 0;
    pollfd waiting{fd, POLLIN, 0};
    while (size < sizeof text && ::memmem(text, size, kEndOfReports, ::strlen(kEndOfReports)) == nullptr) {
        if (::poll(&waiting, 1, -1) < 0) return false;
        const ssize_t n = ::read(fd, text + size, sizeof text - size);
        if (n < 0 && errno == EAGAIN) continue;
        if (n < 0) return false;
        if (n == 0) break;
        size += static_cast<std::size_t>(n);
    }
    if (reports.take({text, size}, as_root)) return true;
    errno = EPROTO;
    return false;
}

// It is to be ended by the kernel.
const char* try_memory(AgentTalk& talk, const Conduct& what, int files, Reports& reports) {
    Arguments arguments;
    arguments.add("memory").add(what.memory_bytes);
    agent::Exec exec = exec_of(isolation::kMemoryExec, kUser, arguments);
    exec.flags |= agent::kWithFiles;
    Started started;
    if (const char* failed = talk.start(exec, files, started)) return failed;
    ::close(files);
    agent::ExitKind kind{};
    int status = 0;
    if (const char* failed = talk.ended(exec.exec, kind, status)) return failed;
    ::close(started.out);
    char observed[80];
    const bool killed = kind == agent::ExitKind::signaled && status == SIGKILL;
    if (killed) {
        (void)::snprintf(observed, sizeof observed, "SIGKILL on the way to %lu MiB, the limit is %lu", 2 * what.memory_bytes >> 20, what.memory_bytes >> 20);
    } else {
        (void)::snprintf(observed, sizeof observed, "no SIGKILL on the way to %lu MiB, ended with %d", 2 * what.memory_bytes >> 20, status);
    }
    reports.put(Wall::memory_limit, killed ? WallStatus::holds : WallStatus::broken, observed);
    return talk.forget(exec.exec);
}

const char* try_walls(AgentTalk& talk, const Conduct& what, bool as_root, Reports& reports) {
    Arguments arguments;
    arguments.add("walls").add(what.disk_bytes).add(what.processes);
    agent::Exec exec = as_root ? exec_of(isolation::kRootExec, 0, arguments) : exec_of(isolation::kUserExec, kUser, arguments);
    if (!as_root) exec.flags |= agent::kStdin;  // it waits there when it is done
    Started started;
    if (const char* failed = talk.start(exec, -1, started)) return failed;
    if (!read_reports(started.out, reports, as_root)) return "read what the program in the jail says";
    if (!as_root) return nullptr;
    agent::ExitKind kind{};
    int status = 0;
    if (const char* failed = talk.ended(exec.exec, kind, status)) return failed;
    ::close(started.out);
    return talk.forget(exec.exec);
}

// The monitor never waits on its sockets, and their other ends came from there.
bool make_blocking(int fd) {
    const int flags = ::fcntl(fd, F_GETFL);
    return flags >= 0 && ::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0;
}

bool send_report(const WallReport& report) {
    std::byte buffer[isolation::kMaxReport];
    wire::Writer writer{buffer, sizeof buffer};
    return writer(report) && ::write(kReportFd, buffer, writer.size()) == static_cast<ssize_t>(writer.size());
}

const char* converse(const Conduct& what, int files, Reports& reports) {
    static AgentTalk talk{kAgentFd};
    if (const char* failed = talk.greet()) return failed;
    if (const char* failed = try_memory(talk, what, files, reports)) return failed;
    if (what.as_root) {
        if (const char* failed = try_walls(talk, what, true, reports)) return failed;
    }
    return try_walls(talk, what, false, reports);
}

}  // namespace

int conduct(const Conduct& what) {
    static Reports reports;
    (void)::alarm(kMostSeconds);
    const int files = program_file();
    const bool ready = files >= 0 && make_blocking(kAgentFd) && make_blocking(kReportFd) && confine(what.uid, what.gid);
    const char* failed = ready ? converse(what, files, reports) : "give up rights";
    WallReport last;
    last.error = failed == nullptr ? 0 : errno;
    last.observed = failed == nullptr ? "" : failed;
    for (std::size_t i = 0; failed == nullptr && i < isolation::kTestedWallCount; ++i) {
        const auto wall = static_cast<Wall>(i);
        if (isolation::wall_info(wall).seen != isolation::Seen::tried_inside) continue;
        if (!send_report(reports.of(wall))) return 1;
    }
    if (!send_report(last)) return 1;
    char byte = 0;
    (void)!::read(kReportFd, &byte, 1);
    return failed == nullptr ? 0 : 1;
}

}  // namespace sandboxd::probe
