#include <boost/asio/this_coro.hpp>
#include <limits>
#include <utility>

#include "api/errors.hpp"
#include "api/exec_params.hpp"
#include "api/exec_routes.hpp"
#include "api/sandbox_ref.hpp"
#include "api/stream_race.hpp"
#include "api/stream_reader.hpp"
#include "sandboxd/core/log.hpp"

namespace sandboxd::api {

namespace {

Result<void> check_offset(const engine::Output& output, std::uint64_t offset) {
    if (offset >= output.first_offset() && offset <= output.size()) return Result<void>{};
    return Error{Errc::range_not_satisfiable, "output", "offset " + std::to_string(offset) + " is not kept"}
        .fact("offset", static_cast<std::int64_t>(offset))
        .fact("first_offset", static_cast<std::int64_t>(output.first_offset()))
        .fact("size", static_cast<std::int64_t>(output.size()));
}

Response output_head(engine::Exec& exec, const engine::Output& output, std::uint64_t offset) {
    Response head;
    head.content_type = "application/octet-stream";
    const bool ended = exec.status() != engine::ExecStatus::running;
    head.headers = {
        {"X-Output-Offset", std::to_string(offset)},
        {"X-Output-Size", std::to_string(output.size())},
        {"X-Output-Dropped", std::to_string(output.dropped())},
        {"X-Output-Ended", ended ? "true" : "false"},
        {"X-Exec-Status", std::string{engine::to_string(exec.status())}},
        {"Cache-Control", "no-store"},
        {"X-Content-Type-Options", "nosniff"},
    };
    return head;
}

enum class Consume { no, yes };

// `length` bytes at most; fewer only at the end of the stream.
asio::awaitable<Result<std::uint64_t>> copy_output(Exchange& exchange, engine::Output& output, std::uint64_t offset,
                                                   std::uint64_t length, Consume consume, Latch& end) {
    OutputReader reader{output, offset, end};
    std::uint64_t sent = 0;
    while (sent < length) {
        SBX_CO_TRY(std::span<const std::byte> piece, co_await reader.next());
        if (piece.empty()) break;
        if (piece.size() > length - sent) piece = piece.first(static_cast<std::size_t>(length - sent));
        SBX_CO_CHECK(co_await exchange.write(piece));
        sent += piece.size();
        if (consume == Consume::yes) output.consumed(offset + sent);
    }
    co_return sent;
}

asio::awaitable<Result<void>> follow_to_end(Exchange& exchange, engine::Output& output, std::uint64_t offset, Latch& end) {
    auto copied = co_await copy_output(exchange, output, offset, std::numeric_limits<std::uint64_t>::max(), Consume::yes, end);
    if (copied) co_return Result<void>{};  // the stream may end before the program; who follows is told of its end
    end.set();  // a copy that failed must not leave the other half waiting for the program
    co_return std::move(copied).error();
}

asio::awaitable<Result<void>> end_with(engine::Exec& exec, Latch& end) {
    auto ended = exec.wait(Deadline::never());
    auto given_up = end.wait(Deadline::never());
    auto either = race(std::move(ended), std::move(given_up));
    Raced raced = co_await std::move(either);
    end.set();
    co_return std::move(raced.result);
}

asio::awaitable<Result<void>> follow_output(Exchange& exchange, engine::Exec& exec, engine::Output& output, std::uint64_t offset) {
    const auto executor = co_await asio::this_coro::executor;
    Latch end{executor};
    std::vector<asio::awaitable<Result<void>>> works;
    works.push_back(follow_to_end(exchange, output, offset, end));
    works.push_back(end_with(exec, end));
    auto work = all(std::move(works));
    auto left = gone(exchange);
    auto either = race(std::move(work), std::move(left));
    Raced raced = co_await std::move(either);
    // Looking at a program's output does not own the program: a follower that leaves changes nothing for it.
    if (!raced.finished) co_return Error{Errc::canceled, "output", "the client has gone"};
    co_return std::move(raced.result);
}

}  // namespace

asio::awaitable<Result<void>> get_exec_output(Exchange& exchange) {
    SBX_CO_TRY(const engine::SandboxPtr sandbox, find_sandbox(exchange));
    SBX_CO_TRY(const engine::ExecPtr exec, exec_of(exchange, *sandbox));
    const std::string stream = exchange.query("stream").value_or("stdout");
    if (stream != "stdout" && stream != "stderr") co_return field_error("stream", "stdout or stderr", stream);
    engine::Output& output = stream == "stdout" ? exec->out() : exec->err();
    SBX_CO_TRY(const std::uint64_t offset, query_uint(exchange, "offset", output.first_offset(), 0, std::numeric_limits<std::uint64_t>::max()));
    SBX_CO_TRY(const bool follow, query_flag(exchange, "follow"));
    SBX_CO_CHECK(check_offset(output, offset));
    // Who asks for what is behind has what is before: so a program that blocks on its output goes on with a reader
    // that polls, and a lost answer can still be asked for again.
    output.consumed(offset);
    Response head = output_head(*exec, output, offset);
    if (follow && exchange.method() != "HEAD") {
        SBX_CO_CHECK(co_await exchange.begin(std::move(head), std::nullopt));
        SBX_CO_CHECK(co_await follow_output(exchange, *exec, output, offset));
        co_return co_await exchange.finish();
    }
    const std::uint64_t length = output.size() - offset;
    SBX_CO_CHECK(co_await exchange.begin(std::move(head), length));
    if (exchange.method() == "HEAD") co_return co_await exchange.finish();
    const auto executor = co_await asio::this_coro::executor;
    Latch end{executor};
    end.set();  // what is there now
    SBX_CO_TRY(const std::uint64_t sent, co_await copy_output(exchange, output, offset, length, Consume::no, end));
    if (sent != length) co_return Error{Errc::internal, "output", "the stream's file is shorter than its size"};
    co_return co_await exchange.finish();
}

}  // namespace sandboxd::api
