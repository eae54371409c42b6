#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <optional>

#include "sandboxd/control/server.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/manager/manager.hpp"
#include "sandboxd/monitor/api_process.hpp"

namespace sandboxd::monitor {

// Keeps one sandboxd-api running and serves the manager to it. A new one gets a new control socket; the sandboxes and
// the listening sockets are the same.
class Supervisor {
public:
    // `launch.control` is filled for each start.
    Supervisor(asio::any_io_executor executor, manager::Manager& manager, ApiLaunch launch);
    ~Supervisor();

    void start();
    // Drain, then SIGTERM, then SIGKILL; completes when no API process is left.
    [[nodiscard]] asio::awaitable<void> stop(std::chrono::seconds drain_timeout);

private:
    [[nodiscard]] asio::awaitable<void> keep_running();
    [[nodiscard]] asio::awaitable<void> serve();
    [[nodiscard]] Result<Fd> start_process();

    asio::any_io_executor executor_;
    manager::Manager& manager_;
    ApiLaunch launch_;
    std::optional<ApiProcess> process_;
    std::unique_ptr<control::Server> server_;
    bool stopping_ = false;
    bool drained_ = false;
    Event changed_;
    TaskGroup tasks_;
};

}  // namespace sandboxd::monitor
