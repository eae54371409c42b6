#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sandboxd/control/node.hpp"
#include "sandboxd/engine/engine.hpp"

namespace sandboxd::api {

// What the server counts, and the text of /metrics (Prometheus exposition format 0.0.4). One thread.
class Metrics {
public:
    Metrics();
    Metrics(const Metrics&) = delete;
    Metrics& operator=(const Metrics&) = delete;
    ~Metrics();

    // `pattern` is the route's, never the path that was asked for: a client must not choose the number of series.
    // Empty where no route fitted.
    void request(std::string_view method, std::string_view pattern, unsigned status, double seconds);
    void connection_opened();
    void connection_closed();
    void connection_refused();

    // `status` is empty where the monitor did not answer.
    [[nodiscard]] std::string text(const engine::EngineStats& stats, const std::optional<control::NodeStatus>& status, bool ready);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sandboxd::api
