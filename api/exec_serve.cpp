#include "api/exec_serve.hpp"

#include <boost/asio/this_coro.hpp>
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "api/exec_params.hpp"
#include "api/json.hpp"
#include "api/stream_exec.hpp"
#include "api/stream_race.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr auto kKeepAlive = std::chrono::seconds{15};
constexpr auto kStartTimeout = std::chrono::seconds{30};
// On top of a program's own limit: the grace between SIGTERM and SIGKILL, and a busy machine.
constexpr auto kWaitSlack = std::chrono::seconds{60};

Error client_left() { return Error{Errc::canceled, "exec", "the client has gone, its program was killed"}; }

asio::awaitable<Result<void>> serve_plain(Exchange& exchange, StartedExec started, ExecFollower& follower) {
    std::vector<asio::awaitable<Result<void>>> works;
    works.push_back(follower.collect(started.order.request.on_output_limit));
    if (started.order.input) works.push_back(follower.feed(*std::move(started.order.input)));
    auto work = all(std::move(works));
    auto left = gone(exchange);
    auto either = race(std::move(work), std::move(left));
    Raced raced = co_await std::move(either);
    if (!raced.finished) raced.result = client_left();
    if (!raced.result) {
        // Also when the fault is ours: the answer is an error, without an id that the program could be found by.
        co_await kill_abandoned(started.exec);
        co_return std::move(raced.result);
    }
    const ExecFrame frame = frame_of(started);
    json answer = exec_facts(*started.exec, frame);
    add_output(answer, *started.exec, frame, std::move(follower.out), std::move(follower.err), started.order.encoding, started.rest);
    Response response = json_response(200, answer);
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> send_events(StartedExec& started, ExecFollower& follower, EventSink& sink) {
    json start = {{"type", "start"}, {"sandbox_id", started.sandbox->record().id.str()}, {"exec_id", started.exec->id().str()}};
    SBX_CO_CHECK(co_await sink.send(std::move(start)));
    std::vector<asio::awaitable<Result<void>>> works;
    works.push_back(follower.stream(sink, 0, 0));
    works.push_back(sink.keep_alive(kKeepAlive, follower.end()));
    if (started.order.input) works.push_back(follower.feed(*std::move(started.order.input)));
    auto together = all(std::move(works));
    auto streamed = co_await std::move(together);
    if (!streamed) {
        // The stream has begun, so this is how the client can still learn of it; a broken connection fails again.
        json event = error_event(streamed.error());
        (void)co_await sink.send(std::move(event));
        co_return std::move(streamed);
    }
    json event = exec_facts(*started.exec, frame_of(started));
    event["type"] = "exit";
    co_return co_await sink.send(std::move(event));
}

asio::awaitable<Result<void>> serve_stream(Exchange& exchange, StartedExec started, ExecFollower& follower, StreamFormat format) {
    Response head;
    head.content_type = content_type(format);
    head.headers.emplace_back("Cache-Control", "no-store");
    head.headers.emplace_back("X-Accel-Buffering", "no");  // proxies would hold events back
    auto begun = co_await exchange.begin(std::move(head), std::nullopt);
    const auto executor = co_await asio::this_coro::executor;
    HttpSink sink{exchange, format, started.order.encoding, executor};
    if (begun) {
        auto events = send_events(started, follower, sink);
        auto left = gone(exchange);
        auto either = race(std::move(events), std::move(left));
        Raced raced = co_await std::move(either);
        if (!raced.finished) raced.result = client_left();
        begun = std::move(raced.result);
    }
    if (!begun) {
        co_await kill_abandoned(started.exec);
        co_return std::move(begun);
    }
    co_return co_await exchange.finish();
}

}  // namespace

asio::awaitable<Result<engine::ExecPtr>> start_exec(engine::Sandbox& sandbox, ExecOrder& order) {
    engine::ExecRequest request = std::exchange(order.request, {});
    order.request.timeout_ms = request.timeout_ms;
    order.request.on_output_limit = request.on_output_limit;
    co_return co_await sandbox.exec(std::move(request), Deadline::after(kStartTimeout));
}

Deadline wait_deadline(std::uint64_t timeout_ms, std::uint64_t max_exec_ms) {
    const std::uint64_t limit = timeout_ms == 0 ? max_exec_ms : timeout_ms;
    // Ten years: what a ceiling may say without overflowing the clock.
    constexpr std::uint64_t kMost = 10ULL * 366 * 24 * 3600 * 1000;
    return Deadline::after(std::chrono::milliseconds{std::min(limit, kMost)} + kWaitSlack);
}

ExecFrame frame_of(const StartedExec& started) {
    ExecFrame frame;
    frame.sandbox = started.sandbox->record().id;
    frame.limits = started.sandbox->record().limits;
    frame.timeout_ms = started.order.request.timeout_ms;
    if (started.rest == Rest::gone) frame.usage = started.sandbox->usage();
    return frame;
}

asio::awaitable<Result<void>> serve_exec(Exchange& exchange, StartedExec started) {
    const auto executor = co_await asio::this_coro::executor;
    const Deadline deadline = wait_deadline(started.order.request.timeout_ms, started.max_exec_ms);
    ExecFollower follower{executor, started.exec, deadline};
    if (started.format) {
        const StreamFormat format = *started.format;
        co_return co_await serve_stream(exchange, std::move(started), follower, format);
    }
    co_return co_await serve_plain(exchange, std::move(started), follower);
}

}  // namespace sandboxd::api
