#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/this_coro.hpp>
#include <algorithm>
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
#include "api/sandbox_ref.hpp"
#include "sandboxd/core/log.hpp"
#include "sandboxd/engine/engine.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr std::uint64_t kDefaultTimeoutMs = 60'000;
constexpr auto kCreateTimeout = std::chrono::seconds{30};
constexpr auto kDestroyTimeout = std::chrono::seconds{60};
// If this process dies in the middle of a run, nobody destroys the sandbox; its own time to live does, which counts
// from the end of the program.
constexpr std::uint64_t kOrphanSeconds = 30;

asio::awaitable<void> destroy(engine::Engine& engine, engine::SandboxPtr sandbox) {
    // Also when the server is on its way down.
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
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
    SBX_TRY(engine::CreateRequest request, parse_shape(body, ceiling));
    request.timeout_s = std::min<std::uint64_t>(kOrphanSeconds, ceiling.max_timeout_s);
    return request;
}

// A run as its body said it.
struct RunOrder {
    std::string language;
    engine::CreateRequest sandbox;
    ExecOrder exec;
};

// Takes the text and lets go of it: it may be large, and the program may run for long.
Result<RunOrder> parse_run(std::string text, const policies::TenantLimits& ceiling) {
    SBX_TRY(json body, parse_json(text, kRunSchema));
    RunOrder run;
    run.language = body["language"].get<std::string>();
    SBX_TRY(auto files, parse_files(body));
    SBX_TRY(CodeProgram program, code_program(run.language, std::move(body["code"].get_ref<std::string&>()), std::move(files)));
    run.exec.request.argv = std::move(program.argv);
    run.exec.request.files = std::move(program.files);
    SBX_TRY(run.exec.request.env, parse_env(body));
    SBX_TRY(run.exec.request.timeout_ms, parse_timeout(body, kDefaultTimeoutMs, ceiling));
    SBX_TRY(run.exec.input, parse_input(body));
    run.exec.request.stdin_mode = run.exec.input ? engine::StdinMode::pipe : engine::StdinMode::closed;
    run.exec.encoding = parse_encoding(body);
    SBX_TRY(run.sandbox, parse_sandbox(body, ceiling));
    return run;
}

asio::awaitable<Result<void>> post_run(Exchange& exchange) {
    StartedExec started;
    SBX_CO_TRY(started.format, wanted_stream(exchange));
    SBX_CO_TRY(const policies::TenantLimits ceiling, tenant_limits(exchange));
    started.max_exec_ms = ceiling.max_exec_ms;
    SBX_CO_TRY(std::string text, co_await exchange.body());
    SBX_CO_TRY(RunOrder run, parse_run(std::move(text), ceiling));
    SBX_CO_TRY(engine::SandboxPtr made,
               co_await exchange.engine().create(exchange.caller().tenant, std::move(run.sandbox), Deadline::after(kCreateTimeout)));
    const RunSandbox sandbox{exchange, std::move(made)};
    started.sandbox = sandbox.get();
    started.rest = Rest::gone;
    auto exec = co_await start_exec(*started.sandbox, run.exec);
    if (!exec) co_return explain_start(std::move(exec).error(), run.language);
    started.exec = *std::move(exec);
    started.order = std::move(run.exec);
    co_return co_await serve_exec(exchange, std::move(started));
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
