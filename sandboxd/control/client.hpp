#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>

#include "sandboxd/control/node.hpp"
#include "sandboxd/core/fd.hpp"

namespace sandboxd::control {

// The monitor as a Node, over the control socket. Calls may overlap; each ends with its reply, its deadline or the
// monitor's death (unavailable).
class Client : public Node {
public:
    [[nodiscard]] static std::unique_ptr<Client> make(asio::any_io_executor executor, Fd socket);
    // Takes replies and events until the monitor hangs up; must run as long as the client is used.
    [[nodiscard]] virtual asio::awaitable<void> run() = 0;
};

}  // namespace sandboxd::control
