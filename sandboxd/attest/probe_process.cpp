#include "sandboxd/attest/probe_process.hpp"

#include <fcntl.h>
#include <spawn.h>

#include <array>
#include <csignal>

#include "sandboxd/core/async.hpp"

namespace sandboxd::attest {

namespace {

class FileActions {
public:
    FileActions() { ::posix_spawn_file_actions_init(&actions_); }
    FileActions(const FileActions&) = delete;
    FileActions& operator=(const FileActions&) = delete;
    ~FileActions() { ::posix_spawn_file_actions_destroy(&actions_); }
    posix_spawn_file_actions_t* get() noexcept { return &actions_; }

private:
    posix_spawn_file_actions_t actions_{};
};

}  // namespace

Result<ProbeProcess> ProbeProcess::start(const std::string& program, std::vector<std::string> arguments, const std::vector<int>& descriptors) {
    constexpr int kFirst = 3;
    constexpr int kAboveTargets = 64;
    FileActions actions;
    for (const int standard : {0, 1, 2}) ::posix_spawn_file_actions_addopen(actions.get(), standard, "/dev/null", O_RDWR, 0);
    std::vector<Fd> copies;  // above all targets, so that no dup2 overwrites the source of the next
    for (std::size_t i = 0; i < descriptors.size(); ++i) {
        Fd copy{::fcntl(descriptors[i], F_DUPFD_CLOEXEC, kAboveTargets)};
        if (!copy.valid()) return errno_error("dup");
        ::posix_spawn_file_actions_adddup2(actions.get(), copy.get(), kFirst + static_cast<int>(i));
        copies.push_back(std::move(copy));
    }
    arguments.insert(arguments.begin(), program);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const std::array<char*, 1> environment{nullptr};
    pid_t pid = 0;
    const int rc = ::posix_spawn(&pid, program.c_str(), actions.get(), nullptr, argv.data(), environment.data());
    if (rc != 0) return errno_error(rc, "posix_spawn", program);
    SBX_TRY(const sys::ProcessIdentity identity, sys::identify(pid));
    SBX_TRY(Fd pidfd, sys::pidfd_open(identity));
    return ProbeProcess{std::move(pidfd)};
}

ProbeProcess::~ProbeProcess() {
    if (!pidfd_.valid()) return;
    // Not waited for by anybody; SIGKILL is not refused, and the program has no children of its own here.
    (void)sys::pidfd_signal(pidfd_.get(), SIGKILL);
    (void)sys::reap(pidfd_.get());
}

asio::awaitable<Result<sys::ChildExit>> ProbeProcess::wait(Deadline deadline) {
    SBX_CO_CHECK(co_await wait_fd(pidfd_.get(), Ready::read, deadline));
    auto ended = sys::reap(pidfd_.get());
    pidfd_ = Fd{};
    co_return std::move(ended);
}

}  // namespace sandboxd::attest
