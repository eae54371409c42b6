#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "api/code.hpp"
#include "api/exec_request.hpp"
#include "api/exec_routes.hpp"
#include "api/exec_schema.hpp"
#include "api/exec_serve.hpp"
#include "api/json.hpp"
#include "sandboxd/core/log.hpp"
#include "sandboxd/engine/engine.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr std::uint64_t kDefaultTimeoutMs = 60'000;
constexpr auto kCreateTimeout = std::chrono::seconds{30};
constexpr auto kStartTimeout = std::chrono::seconds{30};
constexpr auto kDestroyTimeout = std::chrono::seconds{60};
// If this process dies in the middle of a run, nobody destroys the sandbox; its own time to live does, which counts
// from the end of the program.
constexpr std::uint64_t kOrphanSeconds = 30;

asio::awaitable<void> destroy(engine::Engine& engine, engine::SandboxPtr sandbox) {
    const SandboxId id = sandbox->record().id;
    auto destroyed = co_await engine.destroy(std::move(sandbox), "run ended", Deadline::after(kDestroyTimeout));
    if (destroyed || destroyed.error().is(Errc::gone) || destroyed.error().is(Errc::not_found)) co_return;
    log::warn("the sandbox of a run could not be destroyed", {{"sandbox", id.str()}, {"error", destroyed.error()}});
}

// The sandbox of one run. However the run ends, also by cancellation or an exception, the sandbox is destroyed; the
// answer does not wait for that, the server does at its end.
class RunSandbox {
public:
    RunSandbox(Exchange& exchange, engine::SandboxPtr sandbox) : exchange_{exchange}, sandbox_{std::move(sandbox)} {}
    RunSandbox(const RunSandbox&) = delete;
    RunSandbox& operator=(const RunSandbox&) = delete;
    ~RunSandbox() { exchange_.background("destroy", destroy(exchange_.engine(), std::move(sandbox_))); }

    [[nodiscard]] const engine::SandboxPtr& get() const noexcept { return sandbox_; }

private:
    Exchange& exchange_;
    engine::SandboxPtr sandbox_;
};

Result<engine::CreateRequest> parse_sandbox(const json& body, const policies::TenantLimits& ceiling) {
    engine::CreateRequest request;
    request.template_name = body.value("template", request.template_name);
    if (body.contains("limits")) {
        SBX_TRY(request.limits, parse_limits(body["limits"], ceiling));
    }
    if (body.contains("network")) {
        SBX_TRY(request.network, parse_network(body["network"]));
    }
    request.allow_root = ceiling.allow_root;
    request.timeout_s = kOrphanSeconds;
    return request;
}

Result<ExecOrder> parse_run(const json& body, const policies::TenantLimits& ceiling) {
    ExecOrder order;
    SBX_TRY(auto files, parse_files(body));
    SBX_TRY(CodeProgram program, code_program(body["language"].get<std::string>(), body["code"].get<std::string>(), std::move(files)));
    order.request.argv = std::move(program.argv);
    order.request.files = std::move(program.files);
    SBX_TRY(order.request.env, parse_env(body));
    SBX_TRY(order.request.timeout_ms, parse_timeout(body, kDefaultTimeoutMs, ceiling));
    SBX_TRY(order.input, parse_input(body));
    order.request.stdin_mode = order.input ? engine::StdinMode::pipe : engine::StdinMode::closed;
    order.encoding = parse_encoding(body);
    return order;
}

asio::awaitable<Result<void>> post_run(Exchange& exchange) {
    SBX_CO_TRY(const std::string text, co_await exchange.body());
    SBX_CO_TRY(const json body, parse_json(text, kRunSchema));
    const policies::TenantLimits ceiling = ceiling_of(exchange);
    StartedExec started;
    SBX_CO_TRY(started.order, parse_run(body, ceiling));
    SBX_CO_TRY(engine::CreateRequest create, parse_sandbox(body, ceiling));
    SBX_CO_TRY(engine::SandboxPtr made,
               co_await exchange.engine().create(exchange.caller().tenant, std::move(create), Deadline::after(kCreateTimeout)));
    const RunSandbox sandbox{exchange, std::move(made)};
    started.sandbox = sandbox.get();
    started.rest = Rest::gone;
    // Files may be large and are needed once.
    engine::ExecRequest request = std::exchange(started.order.request, {});
    started.order.request.timeout_ms = request.timeout_ms;
    started.order.request.on_output_limit = request.on_output_limit;
    auto exec = co_await started.sandbox->exec(std::move(request), Deadline::after(kStartTimeout));
    if (!exec) co_return explain_start(std::move(exec).error(), body["language"].get<std::string>());
    started.exec = *std::move(exec);
    co_return co_await serve_exec(exchange, std::move(started), wanted_stream(exchange));
}

constexpr std::array kRoutes{
    Route{.method = "POST", .pattern = "/v1/run", .handler = post_run, .operation_id = "run",
          .summary = "Run code in a fresh sandbox that is destroyed afterwards. Answers when the program has ended, or live with Accept: "
                     "application/x-ndjson or text/event-stream.",
          .body = &kRunSchema, .response = &kExecAnswerSchema},
};

}  // namespace

std::span<const Route> run_routes() noexcept { return kRoutes; }

}  // namespace sandboxd::api
