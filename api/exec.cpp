#include <csignal>

#include <boost/asio/this_coro.hpp>
#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "api/errors.hpp"
#include "api/exec_answer.hpp"
#include "api/exec_params.hpp"
#include "api/exec_request.hpp"
#include "api/exec_routes.hpp"
#include "api/exec_schema.hpp"
#include "api/exec_serve.hpp"
#include "api/json.hpp"
#include "api/sandbox_ref.hpp"
#include "api/stream_exec.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr auto kSignalTimeout = std::chrono::seconds{5};
constexpr auto kTermGrace = std::chrono::seconds{2};

// The rest of a detached program's stdin is written while nobody waits for the answer any more.
asio::awaitable<void> feed_detached(engine::ExecPtr exec, std::string input, Deadline deadline) {
    const auto executor = co_await asio::this_coro::executor;
    ExecFollower follower{executor, std::move(exec), deadline};
    (void)co_await follower.feed(std::move(input));  // a program that does not read it has not failed
}

asio::awaitable<Result<void>> answer_detached(Exchange& exchange, StartedExec started) {
    if (started.order.input) {
        const Deadline deadline = wait_deadline(started.order.request.timeout_ms, started.max_exec_ms);
        exchange.background("stdin", feed_detached(started.exec, *std::move(started.order.input), deadline));
    }
    const SandboxId& sandbox = started.sandbox->record().id;
    json answer = {{"sandbox_id", sandbox.str()}, {"exec_id", started.exec->id().str()}, {"status", "running"}};
    Response response = json_response(202, answer);
    response.headers.emplace_back("Location", exec_path(sandbox, started.exec->id()));
    co_return co_await exchange.respond(std::move(response));
}

// Takes the text and lets go of it: the program may run for long.
Result<ExecOrder> parse_order(std::string text, const policies::TenantLimits& ceiling, const policies::Limits& sandbox) {
    SBX_TRY(const json body, parse_json(text, kExecSchema));
    return parse_exec(body, ceiling, sandbox);
}

asio::awaitable<Result<void>> post_exec(Exchange& exchange) {
    StartedExec started;
    SBX_CO_TRY(started.sandbox, find_sandbox(exchange));
    SBX_CO_TRY(started.format, wanted_stream(exchange));
    SBX_CO_TRY(const policies::TenantLimits ceiling, tenant_limits(exchange));
    started.max_exec_ms = ceiling.max_exec_ms;
    SBX_CO_TRY(std::string text, co_await exchange.body());
    SBX_CO_TRY(started.order, parse_order(std::move(text), ceiling, started.sandbox->record().limits));
    SBX_CO_TRY(started.exec, co_await start_exec(*started.sandbox, started.order));
    if (started.order.detach) co_return co_await answer_detached(exchange, std::move(started));
    co_return co_await serve_exec(exchange, std::move(started));
}

asio::awaitable<Result<void>> list_execs(Exchange& exchange) {
    SBX_CO_TRY(const engine::SandboxPtr sandbox, find_sandbox(exchange));
    SBX_CO_TRY(const std::uint64_t limit, query_uint(exchange, "limit", 100, 1, 1000));
    std::uint64_t after = 0;  // exec numbers begin at 1
    if (const auto cursor = exchange.query("cursor"); cursor && !cursor->empty()) {
        const auto number = exec_number(*cursor);
        if (!number) co_return field_error("cursor", "next_cursor of an earlier page", *cursor);
        after = *number;
    }
    ExecFrame frame;
    frame.sandbox = sandbox->record().id;
    frame.limits = sandbox->record().limits;
    json items = json::array();
    json answer = json::object();
    for (const engine::ExecPtr& exec : sandbox->execs()) {
        const auto number = exec_number(exec->id().str());
        if (!number || *number <= after) continue;
        if (items.size() == limit) {
            answer["next_cursor"] = items.back()["exec_id"];
            break;
        }
        json item = exec_facts(*exec, frame);
        add_description(item, *exec);
        items.push_back(std::move(item));
    }
    answer["execs"] = std::move(items);
    Response response = json_response(200, answer);
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> respond_state(Exchange& exchange, engine::Sandbox& sandbox, engine::ExecPtr exec) {
    SBX_CO_TRY(const Encoding encoding, query_encoding(exchange));
    const auto executor = co_await asio::this_coro::executor;
    ExecFollower follower{executor, exec, Deadline::never()};
    SBX_CO_CHECK(co_await follower.snapshot());
    ExecFrame frame;
    frame.sandbox = sandbox.record().id;
    frame.limits = sandbox.record().limits;
    json answer = exec_facts(*exec, frame);
    add_description(answer, *exec);
    add_output(answer, *exec, frame, std::move(follower.out), std::move(follower.err), encoding, Rest::kept);
    Response response = json_response(200, answer);
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> get_exec(Exchange& exchange) {
    SBX_CO_TRY(const engine::SandboxPtr sandbox, find_sandbox(exchange));
    SBX_CO_TRY(engine::ExecPtr exec, exec_of(exchange, *sandbox));
    co_return co_await respond_state(exchange, *sandbox, std::move(exec));
}

// SIGTERM, and SIGKILL to the whole tree for what is left after the grace: also to children that outlive the program.
asio::awaitable<Result<void>> stop_exec(engine::Exec& exec) {
    using engine::SignalScope;
    if (exec.status() != engine::ExecStatus::running) {
        (void)co_await exec.send_signal(SIGKILL, SignalScope::tree, Deadline::after(kSignalTimeout));  // there may be none
        co_return Result<void>{};
    }
    auto asked = co_await exec.send_signal(SIGTERM, SignalScope::tree, Deadline::after(kSignalTimeout));
    if (!asked && exec.status() == engine::ExecStatus::running) co_return std::move(asked);
    (void)co_await exec.wait(Deadline::after(kTermGrace));
    const bool was_running = exec.status() == engine::ExecStatus::running;
    auto killed = co_await exec.send_signal(SIGKILL, SignalScope::tree, Deadline::after(kSignalTimeout));
    if (!was_running) co_return Result<void>{};  // an exec whose tree is empty may refuse the signal
    SBX_CO_CHECK(std::move(killed));
    co_return co_await exec.wait(Deadline::after(kSignalTimeout));
}

asio::awaitable<Result<void>> delete_exec(Exchange& exchange) {
    SBX_CO_TRY(const engine::SandboxPtr sandbox, find_sandbox(exchange));
    SBX_CO_TRY(engine::ExecPtr exec, exec_of(exchange, *sandbox));
    const auto name = exchange.query("signal");
    SBX_CO_TRY(const engine::SignalScope scope, parse_scope("scope", exchange.query("scope").value_or("tree")));
    if (!name) {
        SBX_CO_CHECK(co_await stop_exec(*exec));
        co_return co_await respond_state(exchange, *sandbox, std::move(exec));
    }
    SBX_CO_TRY(const int signal, parse_signal("signal", *name));
    auto sent = co_await exec->send_signal(signal, scope, Deadline::after(kSignalTimeout));
    // One that has ended can't be signalled, but what it left in the background can (scope tree).
    if (!sent && exec->status() == engine::ExecStatus::running) co_return std::move(sent);
    // So that the answer says how it ended; a program that lives on in an uninterruptible wait is no error.
    if (signal == SIGKILL) (void)co_await exec->wait(Deadline::after(kSignalTimeout));
    co_return co_await respond_state(exchange, *sandbox, std::move(exec));
}

constexpr std::array<std::string_view, 2> kEncodings{"text", "base64"};
constexpr std::array<std::string_view, 2> kStreams{"stdout", "stderr"};
constexpr std::array<std::string_view, 3> kScopes{"process", "group", "tree"};

constexpr Field kEncodingField{.name = "encoding", .description = "Of stdout and stderr in the answer.", .values = kEncodings,
                               .default_text = "text"};
constexpr std::array kListQuery{
    Field{.name = "limit", .type = Type::integer, .description = "At most this many.", .min = 1, .max = 1000, .default_text = "100"},
    Field{.name = "cursor", .description = "next_cursor of the page before."},
};
constexpr std::array kGetQuery{kEncodingField};
constexpr std::array kDeleteQuery{
    Field{.name = "signal", .description = "TERM, KILL, INT, … or a number; without it TERM, and KILL after 2 s.", .max = 16},
    Field{.name = "scope", .description = "Whom a given signal goes to.", .values = kScopes, .default_text = "tree"},
    kEncodingField,
};
constexpr std::array kOutputQuery{
    Field{.name = "stream", .description = "With a pty all output is stdout.", .values = kStreams, .default_text = "stdout"},
    Field{.name = "offset", .type = Type::integer,
          .description = "The first byte. With on_output_limit block, what is below it counts as consumed.", .min = 0,
          .default_text = "the oldest byte that is kept"},
    Field{.name = "follow", .type = Type::boolean, .description = "Go on until the program has ended.", .default_text = "false"},
};

constexpr std::array kRoutes{
    Route{.method = "POST", .pattern = "/v1/sandboxes/{id}/exec", .handler = post_exec, .operation_id = "exec",
          .summary = "Run a program and wait for its end, or stream it (Accept: application/x-ndjson or text/event-stream), or "
                     "detach it (202). A client that leaves before the end has its program killed, except with detach.",
          .body = &kExecSchema, .response = &kExecAnswerSchema},
    Route{.method = "GET", .pattern = "/v1/sandboxes/{id}/exec", .handler = list_execs, .operation_id = "listExecs",
          .summary = "Running programs and the last ones that ended, oldest first.", .query = kListQuery, .response = &kExecListSchema},
    Route{.method = "GET", .pattern = "/v1/sandboxes/{id}/exec/ws", .handler = exec_socket, .operation_id = "execSocket",
          .summary = "WebSocket: start a program or attach to one at any byte offset; stdin, resize, signals; output, meter and exit events.",
          .success = 101},
    Route{.method = "GET", .pattern = "/v1/sandboxes/{id}/exec/{exec_id}", .handler = get_exec, .operation_id = "getExec",
          .summary = "A program's state and its output so far.", .query = kGetQuery, .response = &kExecAnswerSchema},
    Route{.method = "DELETE", .pattern = "/v1/sandboxes/{id}/exec/{exec_id}", .handler = delete_exec, .operation_id = "signalExec",
          .summary = "Send a signal to a program, or end it; answers its state.", .query = kDeleteQuery, .response = &kExecAnswerSchema},
    Route{.method = "GET", .pattern = "/v1/sandboxes/{id}/exec/{exec_id}/output", .handler = get_exec_output,
          .operation_id = "getExecOutput",
          .summary = "The raw bytes of one output stream from an offset. X-Output-Offset, X-Output-Size, X-Output-Dropped and X-Output-Ended "
                     "say where they stand.",
          .query = kOutputQuery, .response_type = "application/octet-stream"},
};

}  // namespace

std::span<const Route> exec_routes() noexcept { return kRoutes; }

}  // namespace sandboxd::api
