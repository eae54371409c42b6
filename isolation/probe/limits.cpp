// Limits, by running into them.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "isolation/probe/limits.hpp"

namespace sandboxd::probe {

namespace {

constexpr int kMostChildren = 256;

// The kernel counts these per user up to the one that made the outer namespace: without a limit of its own, one jail
// uses up the host's.
void user_quotas(Finding& finding, const Limits&) {
    constexpr int kMostInstances = 64;
    int fds[kMostInstances + 1];
    int count = 0;
    while (count <= kMostInstances && (fds[count] = ::inotify_init1(IN_CLOEXEC)) >= 0) ++count;
    if (count > kMostInstances) {
        finding.bad("more than %d inotify instances", kMostInstances);
    } else {
        finding.good("%d inotify instances", count);
    }
    while (count > 0) ::close(fds[--count]);
}

int crash() {
    ::signal(SIGABRT, SIG_DFL);
    ::abort();
}

void core_dumps(Finding& finding, const Limits&) {
    rlimit limit{};
    if (::getrlimit(RLIMIT_CORE, &limit) != 0) return finding.bad("no limit can be read");
    // 1, not 0: the one value that a core_pattern with a pipe respects.
    if (limit.rlim_max > 1) return finding.bad("the hard limit on core files is above 1");
    const int status = in_child(crash);
    if (!WIFSIGNALED(status) || WCOREDUMP(status)) return finding.bad("a crash dumped core");
    finding.good("a crash dumped nothing");
}

[[noreturn]] void wait_for_end() {
    // Should the parent die, so does this.
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) ::pause();
}

void process_limit(Finding& finding, const Limits& limits) {
    pid_t children[kMostChildren];
    int count = 0;
    int error = 0;
    const int most = limits.processes < kMostChildren ? static_cast<int>(limits.processes) : kMostChildren;
    while (count < most) {
        const pid_t child = ::fork();
        if (child == 0) wait_for_end();
        if (child < 0) {
            error = errno;
            break;
        }
        children[count++] = child;
    }
    for (int i = 0; i < count; ++i) {
        (void)::kill(children[i], SIGKILL);
        (void)::waitpid(children[i], nullptr, 0);
    }
    if (error == EAGAIN) {
        finding.good("fork refused after %d of %lu", count, limits.processes);
    } else {
        finding.bad("%d forks and no EAGAIN", count);
    }
}

void disk_limit(Finding& finding, const Limits& limits) {
    constexpr const char* kFile = "sandbox-probe.disk";
    constexpr off_t kLittle = 1 << 20;
    const auto much = static_cast<off_t>(limits.disk_bytes) + kLittle;
    const int fd = ::open(kFile, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return finding.bad("no file can be made");
    // Without the first, a disk that is full for another reason would look like a limit.
    if (::fallocate(fd, 0, 0, kLittle) != 0) finding.bad("not even 1 MiB can be allocated");
    finding.attempt("a file above the limit", ::fallocate(fd, 0, 0, much), {EDQUOT, ENOSPC});
    ::close(fd);
    (void)::unlink(kFile);
}

}  // namespace

int use_memory(unsigned long limit) {
    constexpr unsigned long kChunk = 1 << 20;
    constexpr unsigned long kPage = 4096;
    const unsigned long most = 2 * limit;
    for (unsigned long used = 0; used < most; used += kChunk) {
        void* const chunk = ::mmap(nullptr, kChunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (chunk == MAP_FAILED) return 3;
        for (unsigned long at = 0; at < kChunk; at += kPage) static_cast<volatile char*>(chunk)[at] = 1;
    }
    return 0;
}

const WallAttempt kLimitAttempts[] = {
    {Wall::user_quotas, user_quotas},
    {Wall::core_dumps, core_dumps},
    {Wall::process_limit, process_limit},
    {Wall::disk_limit, disk_limit},
    {Wall::count, nullptr},
};

}  // namespace sandboxd::probe
