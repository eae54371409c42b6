#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "api/json.hpp"
#include "api/metrics.hpp"
#include "api/resource_routes.hpp"
#include "sandboxd/engine/engine.hpp"

// What load balancers, supervisors and Prometheus ask. No key is needed: the answers hold no tenant's data, and the
// daemon listens on the loopback interface unless it is told otherwise. Who opens it to a network decides there, in
// front of it, who may read /metrics.
namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr std::array kStatusFields{Field{.name = "status", .required = true, .description = "ok, or ready."}};
constexpr Schema kStatusSchema{"Status", kStatusFields, true};

Response status_response(const char* status) {
    json body = json::object();
    body["status"] = status;
    return json_response(200, body);
}

asio::awaitable<Result<void>> get_health(Exchange& exchange) { co_return co_await exchange.respond(status_response("ok")); }

asio::awaitable<Result<void>> get_ready(Exchange& exchange) {
    const auto node = co_await exchange.engine().node_status();
    const bool cordoned = exchange.engine().cordoned();
    const bool refusing = node && !node->refusal.empty();
    if (node && !cordoned && !refusing) co_return co_await exchange.respond(status_response("ready"));
    std::string reasons;
    if (cordoned) reasons = "the node is cordoned or draining: new sandboxes are refused";
    if (!node) reasons += (reasons.empty() ? "" : "; ") + std::string{"the monitor does not answer: "} + node.error().message();
    if (refusing) reasons += (reasons.empty() ? "" : "; ") + node->refusal;
    co_return Error{node && !refusing ? Errc::draining : Errc::unavailable, "not ready", std::move(reasons)}
        .fact("cordoned", std::string{cordoned ? "true" : "false"})
        .fact("node", std::string{!node ? "down" : refusing ? "refusing" : "up"});
}

asio::awaitable<Result<void>> get_metrics(Exchange& exchange) {
    auto node = co_await exchange.engine().node_status();
    std::optional<control::NodeStatus> status;
    if (node) status = *std::move(node);
    const bool ready = status.has_value() && status->refusal.empty() && !exchange.engine().cordoned();
    Response response;
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = exchange.metrics().text(exchange.engine().stats(), status, ready);
    co_return co_await exchange.respond(std::move(response));
}

constexpr std::array kRoutes{
    Route{.method = "GET", .pattern = "/healthz", .handler = get_health, .operation_id = "getHealth",
          .summary = "The process lives and answers.", .auth = Auth::none, .response = &kStatusSchema},
    Route{.method = "GET", .pattern = "/readyz", .handler = get_ready, .operation_id = "getReadiness",
          .summary = "New sandboxes are taken. 503 with the reasons while the node is cordoned, drains, does not answer, or has a wall that does not hold.",
          .auth = Auth::none, .response = &kStatusSchema},
    Route{.method = "GET", .pattern = "/metrics", .handler = get_metrics, .operation_id = "getMetrics",
          .summary = "Figures in the Prometheus exposition format.", .auth = Auth::none, .response_type = "text/plain"},
};

}  // namespace

std::span<const Route> operations_routes() noexcept { return kRoutes; }

}  // namespace sandboxd::api
