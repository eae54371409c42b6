#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>

#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/core/sys.hpp"
#include "sandboxd/monitor/state_directory.hpp"

namespace sandboxd::monitor {

namespace asio = boost::asio;

// What a sandboxd-api gets; descriptors are borrowed, -1 where there is none.
struct ApiLaunch {
    std::string program;
    std::string folder;  // <state_dir>/api
    ApiUser user;
    int control = -1;
    int config = -1;       // memfd with the configuration as TOML
    int tcp = -1;
    int unix_socket = -1;
    int tls_certificate = -1;  // memfds with PEM texts
    int tls_key = -1;
};

// One running sandboxd-api. It starts with root's ids and drops them before it reads a byte (api_main.cpp).
class ApiProcess {
public:
    [[nodiscard]] static Result<ApiProcess> start(const ApiLaunch& launch);

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    [[nodiscard]] asio::awaitable<Result<sys::ChildExit>> wait(Deadline deadline);
    [[nodiscard]] Result<void> signal(int signal) const;

private:
    ApiProcess(pid_t pid, Fd pidfd) : pid_{pid}, pidfd_{std::move(pidfd)} {}
    pid_t pid_;
    Fd pidfd_;
};

}  // namespace sandboxd::monitor
