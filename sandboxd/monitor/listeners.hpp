#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>

#include "sandboxd/config.hpp"
#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/monitor/state_directory.hpp"

namespace sandboxd::monitor {

namespace asio = boost::asio;

// The API's listening sockets. The monitor binds them and keeps them: while the API restarts, connections wait in the
// backlog instead of being refused, and the API needs no right to bind.
struct Listeners {
    Fd tcp;
    Fd unix_socket;
    std::string tcp_address;  // as bound: the port is the real one when 0 was asked for
    std::string unix_path;
};

// Waits up to the deadline for an address that is in use (a predecessor's API may be about to end). The error names
// what holds the port, as far as that can be told.
[[nodiscard]] asio::awaitable<Result<Listeners>> open_listeners(const Config& config, ApiUser user, Deadline deadline);

}  // namespace sandboxd::monitor
