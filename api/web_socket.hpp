#pragma once

#include <memory>
#include <string>

#include "api/connection.hpp"
#include "api/exchange.hpp"

namespace sandboxd::api {

// Answers the request that the connection has read with 101 (RFC 6455). invalid_argument when it asks for no WebSocket.
// The connection must outlive what comes back and carries nothing else from now on.
[[nodiscard]] asio::awaitable<Result<std::unique_ptr<WebSocket>>> accept_web_socket(Connection& connection, std::string request_id);

}  // namespace sandboxd::api
