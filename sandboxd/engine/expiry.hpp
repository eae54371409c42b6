#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sandboxd/core/async.hpp"
#include "sandboxd/core/clock.hpp"
#include "sandboxd/core/ids.hpp"

namespace sandboxd::engine {

// When which sandbox is due: one timer for all of them. One thread.
class Expiry {
public:
    explicit Expiry(asio::any_io_executor executor) : earlier_{std::move(executor)} {}

    // Replaces what was set before; nothing: never.
    void set(const SandboxId& id, std::optional<SteadyTime> due);
    // Those that are due, which are then set to never.
    [[nodiscard]] std::vector<SandboxId> take_due(SteadyTime now);
    [[nodiscard]] std::optional<SteadyTime> next() const;

    // Calls `on_due` for each when its time has come, until cancelled.
    [[nodiscard]] asio::awaitable<void> run(std::function<void(SandboxId)> on_due);

private:
    std::set<std::pair<SteadyTime, SandboxId>> queue_;
    std::unordered_map<SandboxId, SteadyTime> due_;
    Event earlier_;
};

}  // namespace sandboxd::engine
