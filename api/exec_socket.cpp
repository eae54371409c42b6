#include "api/exec_socket.hpp"

#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "api/errors.hpp"
#include "api/exec_answer.hpp"
#include "api/exec_params.hpp"
#include "api/exec_routes.hpp"
#include "api/exec_schema.hpp"
#include "api/exec_serve.hpp"
#include "api/json_text.hpp"
#include "api/sandbox_ref.hpp"
#include "sandboxd/core/log.hpp"
#include "sandboxd/core/utf8.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr auto kFirstMessage = std::chrono::seconds{30};
constexpr auto kControlTimeout = std::chrono::seconds{5};
constexpr auto kMeterPeriod = std::chrono::seconds{1};
constexpr std::size_t kReasonMax = 100;  // a close frame holds 123 bytes
constexpr std::uint16_t kItsFault = 1008;  // RFC 6455, section 7.4.1
constexpr std::uint16_t kOurFault = 1011;

// The "type" of a message; what else it has is checked by the schema that this picks.
Result<std::string> type_of(const json& message) {
    if (message.is_object() && message.contains("type") && message["type"].is_string()) return message["type"].get<std::string>();
    return field_error("type", "a JSON object with a type", "something else");
}

Result<void> check_kept(const engine::Output& output, std::string_view field, std::uint64_t offset) {
    if (offset >= output.first_offset() && offset <= output.size()) return Result<void>{};
    return Error{Errc::range_not_satisfiable, std::string{field}, std::to_string(offset) + " is not kept"}
        .fact("field", std::string{field})
        .fact("first_offset", static_cast<std::int64_t>(output.first_offset()))
        .fact("size", static_cast<std::int64_t>(output.size()));
}

std::string close_reason(const Error& error) {
    const json told = error_json(error);
    std::string reason = told["message"].get<std::string>().substr(0, kReasonMax);
    reason.resize(utf8::complete_prefix(reason));
    return reason;
}

}  // namespace

std::uint16_t close_code(const Error& error) noexcept {
    switch (error.errc()) {
        case Errc::internal:
        case Errc::unavailable:
        case Errc::protocol_error:
        case Errc::timeout:
        case Errc::disk_full: return kOurFault;
        default: return kItsFault;
    }
}

struct ExecSocket::Session {
    Session(asio::any_io_executor executor, WebSocket& socket, Opening opened, Deadline deadline)
        : opening{std::move(opened)},
          sink{socket, opening.order.encoding, executor},
          follower{executor, opening.exec, deadline},
          input{executor, follower.end()} {
        if (opening.order.acknowledged) follower.acknowledged_only();
    }
    Opening opening;
    SocketSink sink;
    ExecFollower follower;
    StdinQueue input;
    std::optional<Error> fault;  // of the client or ours: what the close says
    bool client_left = false;
};

ExecSocket::ExecSocket(asio::any_io_executor executor, WebSocket& socket, engine::SandboxPtr sandbox,
                       policies::TenantLimits ceiling, std::string request_id)
    : executor_{std::move(executor)},
      socket_{socket},
      sandbox_{std::move(sandbox)},
      ceiling_{ceiling},
      request_id_{std::move(request_id)} {}

asio::awaitable<Result<ExecSocket::Opening>> ExecSocket::start(ExecOrder order) {
    Opening opening;
    opening.order = std::move(order);
    // Open until the client closes it: that is what the connection is for.
    opening.order.request.stdin_mode = engine::StdinMode::pipe;
    SBX_CO_TRY(opening.exec, co_await start_exec(*sandbox_, opening.order));
    co_return std::move(opening);
}

Result<ExecSocket::Opening> ExecSocket::attach(const json& body) {
    SBX_CHECK(check_json(body, kAttachSchema));
    Opening opening;
    opening.attached = true;
    opening.order.request.timeout_ms = 0;  // not known: wait up to the ceiling
    const std::string id = body["exec_id"].get<std::string>();
    if (!exec_number(id)) return Error{Errc::not_found, "exec", id};
    SBX_TRY(opening.exec, sandbox_->find_exec(ExecId::trusted(id)));
    opening.order.encoding = parse_encoding(body);
    opening.order.acknowledged = body.value("acks", false);
    opening.out_offset = body.value("stdout_offset", opening.exec->out().first_offset());
    SBX_CHECK(check_kept(opening.exec->out(), "stdout_offset", opening.out_offset));
    if (opening.exec->pty()) return opening;
    opening.err_offset = body.value("stderr_offset", opening.exec->err().first_offset());
    SBX_CHECK(check_kept(opening.exec->err(), "stderr_offset", opening.err_offset));
    return opening;
}

asio::awaitable<Result<ExecSocket::Opening>> ExecSocket::open() {
    SBX_CO_TRY(WebSocket::Message first, co_await socket_.read(Deadline::after(kFirstMessage)));
    if (first.binary) co_return field_error("type", "a start or attach message", "a binary one");
    SBX_CO_TRY(json body, parse_json_text(first.data));
    SBX_CO_TRY(const std::string type, type_of(body));
    if (type == "attach") co_return attach(body);
    if (type != "start") co_return field_error("type", "start or attach as the first message", type);
    SBX_CO_CHECK(check_json(body, kStartSchema));
    SBX_CO_TRY(ExecOrder order, parse_exec(body, ceiling_, sandbox_->record().limits));
    co_return co_await start(std::move(order));
}

asio::awaitable<void> ExecSocket::refuse(const Error& error) {
    if (error.is(Errc::canceled)) co_return;  // the client has gone
    if (close_code(error) == kOurFault) {
        log::error("a program's connection failed", {{"request", request_id_}, {"sandbox", sandbox_->record().id.str()}, {"error", error}});
    }
    SocketSink sink{socket_, Encoding::text, executor_};
    json event = error_event(error);
    (void)co_await sink.send(std::move(event));  // the close below says it too
    // A close frame's reason is UTF-8 too, and what was internal stays internal.
    std::string reason = close_reason(error);
    co_await socket_.close(close_code(error), std::move(reason));
}

asio::awaitable<Result<void>> ExecSocket::send_started(Session& session) {
    engine::Exec& exec = *session.opening.exec;
    json event = {{"type", "started"},
                  {"sandbox_id", sandbox_->record().id.str()},
                  {"exec_id", exec.id().str()},
                  {"status", engine::to_string(exec.status())},
                  {"pty", exec.pty()}};
    co_return co_await session.sink.send(std::move(event));
}

asio::awaitable<Result<void>> ExecSocket::write_side(Session& session) {
    auto streamed = co_await send_started(session);
    if (streamed) {
        std::vector<asio::awaitable<Result<void>>> works;
        works.push_back(session.follower.stream(session.sink, session.opening.out_offset, session.opening.err_offset));
        works.push_back(session.follower.meter(session.sink, kMeterPeriod));
        works.push_back(session.input.drain(*session.opening.exec, session.sink));
        auto together = all(std::move(works));
        streamed = co_await std::move(together);
    }
    session.follower.abort();  // whatever the reason: nothing of this session goes on
    if (session.client_left) co_return Result<void>{};
    if (!streamed && !session.fault) session.fault = std::move(streamed).error();
    if (session.fault) {
        co_await refuse(*session.fault);
        co_return Result<void>{};
    }
    ExecFrame frame;
    frame.sandbox = sandbox_->record().id;
    frame.limits = sandbox_->record().limits;
    if (!session.opening.attached) frame.timeout_ms = session.opening.order.request.timeout_ms;
    json event = exec_facts(*session.opening.exec, frame);
    event["type"] = "exit";
    auto sent = co_await session.sink.send(std::move(event));
    // Also when the event did not get through: the reading side waits for the close.
    co_await socket_.close(1000, "the program has ended");
    co_return std::move(sent);
}

asio::awaitable<Result<void>> ExecSocket::read_side(Session& session) {
    while (true) {
        auto message = co_await socket_.read(Deadline::never());
        if (!message) {
            session.client_left = !session.follower.end().is_set();
            session.follower.abort();
            co_return Result<void>{};
        }
        if (session.follower.end().is_set()) continue;  // on its way when the program ended
        auto handled = co_await handle(session, *std::move(message));
        if (handled) continue;
        // Said and closed by the write side, between two frames.
        session.fault = std::move(handled).error();
        session.follower.abort();
    }
}

asio::awaitable<Result<void>> ExecSocket::handle(Session& session, WebSocket::Message message) {
    if (message.binary) co_return co_await session.input.push(std::move(message.data));
    SBX_CO_TRY(const json body, parse_json_text(message.data));
    SBX_CO_TRY(const std::string type, type_of(body));
    const Schema* schema = message_schema(type);
    if (!schema) co_return field_error("type", "stdin, stdin_close, resize, signal or ack", type);
    SBX_CO_CHECK(check_json(body, *schema));
    if (type == "stdin") {
        std::string data = body["data"].get<std::string>();
        if (parse_encoding(body) == Encoding::base64) {
            SBX_CO_TRY(data, from_base64(data));
        }
        co_return co_await session.input.push(std::move(data));
    }
    if (type == "stdin_close" && !session.opening.exec->pty()) {
        session.input.close();
        co_return Result<void>{};
    }
    co_return co_await handle_control(session, type, body);
}

asio::awaitable<Result<void>> ExecSocket::handle_control(Session& session, const std::string& type, const json& body) {
    engine::Exec& exec = *session.opening.exec;
    if (type == "ack") co_return acknowledge(session, body);
    Result<void> done;
    if (type == "stdin_close") {
        done = Error{Errc::invalid_argument, "terminal", "its input can't be closed: send its end-of-file character, \\u0004"};
    } else if (type == "resize") {
        const auto rows = body["rows"].get<std::uint16_t>();
        const auto cols = body["cols"].get<std::uint16_t>();
        done = co_await exec.resize(rows, cols, Deadline::after(kControlTimeout));
    } else {
        SBX_CO_TRY(const int signal, parse_signal("signal", body["signal"].get<std::string>()));
        SBX_CO_TRY(const engine::SignalScope scope, parse_scope("scope", body.value("scope", "tree")));
        done = co_await exec.send_signal(signal, scope, Deadline::after(kControlTimeout));
    }
    // What the program refuses is no reason to close. One that has ended meanwhile answers by its exit event.
    if (done || exec.status() != engine::ExecStatus::running) co_return Result<void>{};
    json event = error_event(std::move(done).error().with(type));
    co_return co_await session.sink.send(std::move(event));
}

Result<void> ExecSocket::acknowledge(Session& session, const json& body) {
    engine::Exec& exec = *session.opening.exec;
    const auto offset = body["offset"].get<std::uint64_t>();
    engine::Output& output = body["stream"] == "stderr" ? exec.err() : exec.out();
    if (offset > output.size()) return field_error("offset", "an offset that was sent", std::to_string(offset));
    session.follower.acknowledged_only();
    output.consumed(offset);
    return Result<void>{};
}

asio::awaitable<void> ExecSocket::run() {
    auto opened = co_await open();
    if (!opened) {
        co_await refuse(opened.error());
        co_return;
    }
    const Deadline deadline = wait_deadline(opened->order.request.timeout_ms, ceiling_.max_exec_ms);
    Session session{executor_, socket_, *std::move(opened), deadline};
    ExecOrder& order = session.opening.order;
    if (order.input) (void)co_await session.input.push(*std::move(order.input));  // into an empty queue: never waits
    std::vector<asio::awaitable<Result<void>>> sides;
    sides.push_back(write_side(session));
    sides.push_back(read_side(session));
    auto together = all(std::move(sides));
    (void)co_await std::move(together);  // a connection that broke has nobody to tell
    if (order.kill_on_disconnect) co_await kill_abandoned(session.opening.exec);
}

asio::awaitable<Result<void>> exec_socket(Exchange& exchange) {
    SBX_CO_TRY(engine::SandboxPtr sandbox, find_sandbox(exchange));
    SBX_CO_TRY(const policies::TenantLimits ceiling, tenant_limits(exchange));
    SBX_CO_TRY(const std::unique_ptr<WebSocket> socket, co_await exchange.upgrade());
    const auto executor = co_await asio::this_coro::executor;
    ExecSocket session{executor, *socket, std::move(sandbox), ceiling, exchange.request_id()};
    co_await session.run();
    co_return Result<void>{};
}

}  // namespace sandboxd::api
