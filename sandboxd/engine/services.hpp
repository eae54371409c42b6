#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <optional>

#include "sandboxd/control/node.hpp"
#include "sandboxd/engine/engine.hpp"
#include "sandboxd/engine/escrow.hpp"
#include "sandboxd/engine/expiry.hpp"
#include "sandboxd/engine/io_pools.hpp"
#include "sandboxd/engine/sampler.hpp"
#include "sandboxd/engine/store.hpp"

namespace sandboxd::engine {

// What the sandboxes of an engine share. Owned by the engine, which outlives them.
struct Services {
    asio::any_io_executor executor;
    const EngineConfig& config;
    control::Node& node;
    IoPools& pools;
    Store& store;
    Sampler& sampler;
    Expiry& expiry;
    Escrow& escrow;
    Fd spool;                                       // <state_dir>/spool
    std::function<policies::TenantLimits(const TenantId&)> ceiling;
    std::function<void()> exec_ended;               // for a drain that waits
    std::uint64_t execs_started = 0;
    std::uint64_t execs_running = 0;
};

}  // namespace sandboxd::engine
