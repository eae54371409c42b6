#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>

#include "sandboxd/core/async.hpp"

namespace sandboxd::engine {

// A body for TaskGroup::spawn: Asio ends a cancelled coroutine with an exception at its next co_await, and for a task
// being cancelled is a normal end, not a failure to log.
[[nodiscard]] asio::awaitable<void> until_cancelled(asio::awaitable<void> body);

// Completes when the group is empty, however long that takes, and says so while it takes long. What is asked to end
// must end: its tasks hold on to what goes away after this.
[[nodiscard]] asio::awaitable<void> join_all(TaskGroup& group, std::string whose);

}  // namespace sandboxd::engine
