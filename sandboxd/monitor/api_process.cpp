#include "sandboxd/monitor/api_process.hpp"

#include <fcntl.h>
#include <spawn.h>

#include <array>
#include <vector>

#include "sandboxd/core/async.hpp"

namespace sandboxd::monitor {

namespace {

// posix_spawn's file actions, with the copies that keep one dup2 from overwriting the source of the next.
class Descriptors {
public:
    Descriptors() { ::posix_spawn_file_actions_init(&actions_); }
    Descriptors(const Descriptors&) = delete;
    Descriptors& operator=(const Descriptors&) = delete;
    ~Descriptors() { ::posix_spawn_file_actions_destroy(&actions_); }

    Result<void> pass(const char* flag, int fd, std::vector<std::string>& arguments) {
        if (fd < 0) return {};
        constexpr int kAboveTargets = 64;
        Fd copy{::fcntl(fd, F_DUPFD_CLOEXEC, kAboveTargets)};
        if (!copy.valid()) return errno_error("dup");
        ::posix_spawn_file_actions_adddup2(&actions_, copy.get(), next_);
        arguments.insert(arguments.end(), {flag, std::to_string(next_++)});
        copies_.push_back(std::move(copy));
        return {};
    }
    void null_stdio() {
        ::posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0);
        ::posix_spawn_file_actions_addopen(&actions_, 1, "/dev/null", O_WRONLY, 0);
    }
    [[nodiscard]] const posix_spawn_file_actions_t* get() const noexcept { return &actions_; }

private:
    posix_spawn_file_actions_t actions_{};
    std::vector<Fd> copies_;
    int next_ = 3;
};

}  // namespace

Result<ApiProcess> ApiProcess::start(const ApiLaunch& launch) {
    std::vector<std::string> arguments{launch.program, "--folder", launch.folder, "--uid", std::to_string(launch.user.uid), "--gid", std::to_string(launch.user.gid)};
    Descriptors descriptors;
    descriptors.null_stdio();
    SBX_CHECK(descriptors.pass("--control", launch.control, arguments));
    SBX_CHECK(descriptors.pass("--config", launch.config, arguments));
    SBX_CHECK(descriptors.pass("--tcp", launch.tcp, arguments));
    SBX_CHECK(descriptors.pass("--unix", launch.unix_socket, arguments));
    SBX_CHECK(descriptors.pass("--tls-certificate", launch.tls_certificate, arguments));
    SBX_CHECK(descriptors.pass("--tls-key", launch.tls_key, arguments));

    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    std::string locale = "LANG=C.UTF-8";
    const std::array<char*, 2> environment{locale.data(), nullptr};  // nothing of the administrator's shell
    pid_t pid = 0;
    const int rc = ::posix_spawn(&pid, launch.program.c_str(), descriptors.get(), nullptr, argv.data(), environment.data());
    if (rc != 0) return errno_error(rc, "posix_spawn", launch.program);
    SBX_TRY(const sys::ProcessIdentity identity, sys::identify(pid));
    SBX_TRY(Fd pidfd, sys::pidfd_open(identity));
    return ApiProcess{pid, std::move(pidfd)};
}

asio::awaitable<Result<sys::ChildExit>> ApiProcess::wait(Deadline deadline) {
    SBX_CO_CHECK(co_await wait_fd(pidfd_.get(), Ready::read, deadline));
    co_return sys::reap(pidfd_.get());
}

Result<void> ApiProcess::signal(int signal) const { return sys::pidfd_signal(pidfd_.get(), signal); }

}  // namespace sandboxd::monitor
