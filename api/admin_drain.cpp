#include <array>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "api/admin_handlers.hpp"
#include "api/json.hpp"
#include "api/request_body.hpp"
#include "sandboxd/engine/engine.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr std::uint64_t kDrainSeconds = 60;
constexpr std::size_t kExecsShown = 100;

constexpr Field kCordonedField{.name = "cordoned", .type = Type::boolean, .required = true, .description = "New sandboxes are refused."};
constexpr std::array kCordonedFields{kCordonedField};

constexpr std::array kDrainFields{
    Field{.name = "timeout_s", .type = Type::integer, .description = "How long to wait for programs that run; 0: not at all.", .min = 0, .max = 3600,
          .default_text = "60"},
};

constexpr std::array kRunningFields{
    Field{.name = "tenant", .required = true, .description = "Whose it is."},
    Field{.name = "sandbox_id", .required = true, .description = "Where it runs."},
    Field{.name = "exec_id", .required = true, .description = "Its id in that sandbox."},
    Field{.name = "started_at", .required = true, .description = "RFC 3339, UTC."},
};
constexpr Schema kRunningSchema{"RunningExec", kRunningFields, true};

constexpr std::array kDrainedFields{
    Field{.name = "drained", .type = Type::boolean, .required = true, .description = "No program runs any more."},
    kCordonedField,
    Field{.name = "sandboxes", .type = Type::integer, .required = true, .description = "Living ones: they stay."},
    Field{.name = "execs_running", .type = Type::integer, .required = true, .description = "Programs that still run."},
    Field{.name = "running", .type = Type::object_array, .required = true, .description = "The first hundred of them.", .object = &kRunningSchema},
};

json exec_json(const engine::Sandbox& sandbox, const engine::Exec& exec) {
    const ledger::SandboxRecord& record = sandbox.record();
    return {{"tenant", record.tenant.str()}, {"sandbox_id", record.id.str()}, {"exec_id", exec.id().str()}, {"started_at", to_rfc3339(exec.started())}};
}

// Not from EngineStats: reading those takes the create times away from /metrics.
json what_runs(engine::Engine& engine) {
    std::uint64_t sandboxes = 0;
    std::uint64_t execs = 0;
    json running = json::array();
    for (const ledger::TenantRecord& tenant : engine.tenants()) {
        for (const engine::SandboxPtr& sandbox : engine.list(tenant.id, {})) {
            ++sandboxes;
            for (const engine::ExecPtr& exec : sandbox->execs()) {
                if (exec->status() != engine::ExecStatus::running) continue;
                if (++execs <= kExecsShown) running.push_back(exec_json(*sandbox, *exec));
            }
        }
    }
    return {{"drained", execs == 0}, {"cordoned", engine.cordoned()}, {"sandboxes", sandboxes}, {"execs_running", execs}, {"running", std::move(running)}};
}

asio::awaitable<Result<void>> answer_cordoned(Exchange& exchange) {
    json body = json::object();
    body["cordoned"] = exchange.engine().cordoned();
    Response response = json_response(200, body);
    co_return co_await exchange.respond(std::move(response));
}

}  // namespace

constexpr Schema kCordonedSchema{"Cordoned", kCordonedFields, true};
constexpr Schema kDrainSchema{"Drain", kDrainFields};
constexpr Schema kDrainedSchema{"Drained", kDrainedFields, true};

asio::awaitable<Result<void>> cordon_node(Exchange& exchange) {
    SBX_CO_CHECK(co_await read_json(exchange, kEmptySchema));
    exchange.engine().cordon(true);
    co_return co_await answer_cordoned(exchange);
}

asio::awaitable<Result<void>> uncordon_node(Exchange& exchange) {
    SBX_CO_CHECK(co_await read_json(exchange, kEmptySchema));
    exchange.engine().cordon(false);
    co_return co_await answer_cordoned(exchange);
}

asio::awaitable<Result<void>> drain_node(Exchange& exchange) {
    using namespace asio::experimental::awaitable_operators;
    SBX_CO_TRY(const json body, co_await read_json(exchange, kDrainSchema));
    const std::chrono::seconds time{body.value("timeout_s", kDrainSeconds)};
    auto drained = exchange.engine().drain(Deadline::after(time));
    auto left = exchange.client_gone();
    auto either = std::move(drained) || std::move(left);
    (void)co_await std::move(either);
    Response response = json_response(200, what_runs(exchange.engine()));
    co_return co_await exchange.respond(std::move(response));
}

}  // namespace sandboxd::api
