#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <memory>

#include "sandboxd/control/node.hpp"
#include "sandboxd/core/fd.hpp"

namespace sandboxd::control {

// Serves a Node to one connection. Bytes from the socket are untrusted: a malformed message ends the connection.
class Server {
public:
    [[nodiscard]] static std::unique_ptr<Server> make(asio::any_io_executor executor, Node& node, Fd socket);
    virtual ~Server() = default;

    // Completes when the peer has hung up or broke the protocol, and no request of it is under way.
    [[nodiscard]] virtual asio::awaitable<void> run() = 0;
    virtual void send_gone(const SandboxId& id, GoneReason reason) = 0;
    virtual void send_drain(Deadline deadline) = 0;
};

}  // namespace sandboxd::control
