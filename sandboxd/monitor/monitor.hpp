#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "sandboxd/config.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::monitor {

// A signal that may come at any time, also while the start is still under way.
struct StopRequest {
    explicit StopRequest(asio::any_io_executor executor) : event{std::move(executor)} {}
    Event event;
    bool asked = false;
    void ask() {
        asked = true;
        event.notify();
    }
};

// The root process: state folder, manager, listening sockets, and sandboxd-api, which is started again when it dies.
// Completes after `stop` was asked for: drained, the API ended, and sandboxes kept or destroyed as the configuration
// says. An Error is a start that failed (nothing is left then), or a stop that left something.
[[nodiscard]] asio::awaitable<Result<void>> run(asio::any_io_executor executor, Config config, StopRequest& stop);

}  // namespace sandboxd::monitor
