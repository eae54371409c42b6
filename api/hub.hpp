#pragma once

#include <memory>
#include <set>
#include <string>

#include "api/metrics.hpp"
#include "api/router.hpp"
#include "api/server.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/engine/engine.hpp"

namespace sandboxd::api {

// What the connections of a server share. Outlives them.
struct Hub {
    Hub(asio::any_io_executor executor, ServerConfig server_config, std::span<const Route> routes, engine::Engine& the_engine,
        Metrics& the_metrics)
        : config{std::move(server_config)}, router{routes}, engine{the_engine}, metrics{the_metrics}, background{executor},
          connections{executor}, answered{executor}, settled{std::move(executor)} {}

    ServerConfig config;
    Router router;
    engine::Engine& engine;
    Metrics& metrics;
    TaskGroup background;
    TaskGroup connections;
    bool stopping = false;
    std::uint64_t bodies_bytes = 0;  // of ServerConfig::bodies_bytes_max
    // Requests with an Idempotency-Key that are being served ("tenant key"), so that a second one can wait for the
    // first one's answer.
    std::set<std::string> claimed;
    Event answered;
    std::size_t unrepeatable = 0;  // requests other than GET that are being served
    Event settled;                 // ... and none of them is left
};

}  // namespace sandboxd::api
