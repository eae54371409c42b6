#include "fs/command.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "fs/kernel.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::fs {

namespace {

// Initialised attributes and file actions of one posix_spawn.
class SpawnSetup {
public:
    SpawnSetup() {
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawnattr_init(&attributes);
    }
    SpawnSetup(const SpawnSetup&) = delete;
    SpawnSetup& operator=(const SpawnSetup&) = delete;
    ~SpawnSetup() {
        ::posix_spawnattr_destroy(&attributes);
        ::posix_spawn_file_actions_destroy(&actions);
    }

    // Everything else is CLOEXEC in this program, so three descriptors are all that the child gets.
    [[nodiscard]] Result<void> prepare(int output) {
        sigset_t none;
        sigset_t all;
        ::sigemptyset(&none);
        ::sigfillset(&all);
        const std::array<int, 6> results{
            ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0),
            ::posix_spawn_file_actions_adddup2(&actions, output, 1),
            ::posix_spawn_file_actions_adddup2(&actions, output, 2),
            ::posix_spawnattr_setsigmask(&attributes, &none),
            ::posix_spawnattr_setsigdefault(&attributes, &all),
            ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF),
        };
        for (const int rc : results) {
            if (rc != 0) return errno_error(rc, "posix_spawn");
        }
        return {};
    }

    posix_spawn_file_actions_t actions{};
    posix_spawnattr_t attributes{};
};

std::string tail_of(int output) {
    constexpr std::size_t kTail = 2048;
    const auto st = sys::fstat(output);
    if (!st) return {};
    const auto size = static_cast<std::size_t>(st->st_size);
    std::string text(std::min(size, kTail), '\0');
    const auto n =
        kernel::pread(output, std::as_writable_bytes(std::span{text}), size - text.size());
    text.resize(n ? *n : 0);
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    return text;
}

// The wait status, or nothing when the child had to be killed at the limit. Reaps it either way.
Result<int> wait_for(pid_t pid, std::chrono::milliseconds limit, bool& killed) {
    SBX_TRY(const sys::ProcessIdentity child, sys::identify(pid));
    SBX_TRY(const Fd pidfd, sys::pidfd_open(child));
    const auto end = std::chrono::steady_clock::now() + limit;
    for (;;) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            end - std::chrono::steady_clock::now());
        pollfd ready{pidfd.get(), POLLIN, 0};
        const int rc = ::poll(&ready, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
        if (rc > 0) break;
        if (rc < 0 && errno_error("poll").is_errno(EINTR)) continue;
        killed = true;
        (void)sys::pidfd_signal(pidfd.get(),
                                SIGKILL);  // it is ours and not reaped: it can't be gone
        break;
    }
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0) {
        Error error = errno_error("waitpid");
        if (!error.is_errno(EINTR)) return error;
    }
    return status;
}

}  // namespace

Result<std::string> find_program(const std::string& name, const std::string& search) {
    std::size_t begin = 0;
    while (begin <= search.size()) {
        const std::size_t end = std::min(search.find(':', begin), search.size());
        const std::string folder = search.substr(begin, end - begin);
        begin = end + 1;
        if (folder.empty() || folder.front() != '/') continue;
        const std::string path = folder + "/" + name;
        const auto st = sys::statat(AT_FDCWD, path.c_str());
        if (st && S_ISREG(st->st_mode) && ::access(path.c_str(), X_OK) == 0) return path;
    }
    return Error{Errc::not_found, "find program", name + " is not in " + search};
}

Result<void> run_command(const std::string& program, const std::vector<std::string>& arguments,
                         std::chrono::milliseconds limit) {
    // A memory file rather than a pipe: nobody has to read while the child runs.
    const Fd output{::memfd_create("output", MFD_CLOEXEC)};
    if (!output.valid()) return errno_error("memfd_create");
    SpawnSetup setup;
    SBX_CHECK(setup.prepare(output.get()));

    std::vector<std::string> words{program};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    std::string path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    std::string locale = "LC_ALL=C";
    std::array<char*, 3> environment{path.data(), locale.data(), nullptr};

    pid_t pid = 0;
    const int rc = ::posix_spawn(&pid, program.c_str(), &setup.actions, &setup.attributes,
                                 argv.data(), environment.data());
    if (rc != 0) return errno_error(rc, "run", program);
    bool killed = false;
    SBX_TRY(const int status, wait_for(pid, limit, killed));
    if (killed) return Error{Errc::timeout, program, "still running at its time limit, killed"};
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    const std::string how = WIFEXITED(status)
                                ? "exited with " + std::to_string(WEXITSTATUS(status))
                                : "died of signal " + std::to_string(WTERMSIG(status));
    return Error{Errc::internal, program, how + ": " + tail_of(output.get())};
}

}  // namespace sandboxd::fs
