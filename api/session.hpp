#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>

#include "api/connection.hpp"
#include "api/hub.hpp"

namespace sandboxd::api {

// Serves a connection, request after request, until one of both sides is done with it.
[[nodiscard]] asio::awaitable<void> serve_connection(Hub& hub, std::shared_ptr<Connection> connection, bool root_peer);

}  // namespace sandboxd::api
