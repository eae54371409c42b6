#pragma once

#include <boost/asio/awaitable.hpp>

namespace sandboxd::engine {

namespace asio = boost::asio;

// A body for TaskGroup::spawn: Asio ends a cancelled coroutine with an exception at its next co_await, and for a task
// being cancelled is a normal end, not a failure to log.
[[nodiscard]] asio::awaitable<void> until_cancelled(asio::awaitable<void> body);

}  // namespace sandboxd::engine
