#include "api/stream_exec.hpp"

#include <csignal>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "api/json.hpp"
#include "api/stream_reader.hpp"
#include "sandboxd/core/log.hpp"
#include "sandboxd/core/utf8.hpp"

namespace sandboxd::api {

namespace {

constexpr auto kKillTimeout = std::chrono::seconds{5};

std::string_view text_of(std::span<const std::byte> bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

asio::awaitable<Result<void>> ExecFollower::watch() {
    auto ended = exec_->wait(deadline_);
    auto aborted = end_.wait(Deadline::never());
    auto either = race(std::move(ended), std::move(aborted));
    Raced raced = co_await std::move(either);
    if (!raced.result) {
        abort();
        co_return std::move(raced.result);
    }
    end_.set();
    co_return Result<void>{};
}

asio::awaitable<Result<void>> ExecFollower::pump_pieces(engine::Output& output, StreamKind kind, std::uint64_t offset,
                                                        EventSink& sink) {
    OutputReader reader{output, offset, end_};
    while (!aborted_) {
        SBX_CO_TRY(const std::span<const std::byte> piece, co_await reader.next());
        if (piece.empty()) break;
        std::size_t whole = piece.size();
        if (sink.encoding() == Encoding::text && !reader.at_end()) whole = utf8::complete_prefix(text_of(piece));
        reader.keep(piece.size() - whole);
        if (whole == 0) continue;
        SBX_CO_CHECK(co_await sink.send_output(kind, reader.offset(), piece.first(whole)));
        if (!acknowledged_) output.consumed(reader.taken());
    }
    co_return Result<void>{};
}

asio::awaitable<Result<void>> ExecFollower::pump(engine::Output& output, StreamKind kind, std::uint64_t offset, EventSink& sink) {
    auto sent = co_await pump_pieces(output, kind, offset, sink);
    if (!sent) {
        abort();
        co_return std::move(sent);
    }
    if (aborted_ || !output.truncated()) co_return Result<void>{};
    nlohmann::json event = {{"type", "truncated"}, {"stream", to_string(kind)}, {"dropped", output.dropped()}};
    co_return co_await sink.send(std::move(event));
}

asio::awaitable<Result<void>> ExecFollower::stream(EventSink& sink, std::uint64_t out_offset, std::uint64_t err_offset) {
    std::vector<asio::awaitable<Result<void>>> works;
    works.push_back(pump(exec_->out(), exec_->pty() ? StreamKind::pty : StreamKind::out, out_offset, sink));
    if (!exec_->pty()) works.push_back(pump(exec_->err(), StreamKind::err, err_offset, sink));
    works.push_back(watch());
    auto together = all(std::move(works));
    co_return co_await std::move(together);
}

asio::awaitable<Result<void>> ExecFollower::take(engine::Output& output, InlineOutput& into, engine::OverLimit mode) {
    auto taken = co_await take_pieces(output, into, mode);
    if (!taken) abort();  // nobody reads what the program may be waiting to write
    co_return std::move(taken);
}

asio::awaitable<Result<void>> ExecFollower::take_pieces(engine::Output& output, InlineOutput& into, engine::OverLimit mode) {
    OutputReader reader{output, output.first_offset(), end_};
    while (!aborted_) {
        SBX_CO_TRY(const std::span<const std::byte> piece, co_await reader.next());
        if (piece.empty()) break;
        const std::size_t room = kInlineBytes - into.bytes.size();
        into.bytes.append(text_of(piece.first(std::min(room, piece.size()))));
        if (mode == engine::OverLimit::block) output.consumed(reader.taken());
        if (piece.size() <= room) continue;
        into.cut = true;
        if (mode == engine::OverLimit::truncate) break;
    }
    co_return Result<void>{};
}

asio::awaitable<Result<void>> ExecFollower::collect(engine::OverLimit mode) {
    if (mode == engine::OverLimit::truncate) {
        // One pass over a finished file is cheaper than following a growing one.
        SBX_CO_CHECK(co_await watch());
        SBX_CO_CHECK(co_await take(exec_->out(), out, mode));
        co_return co_await take(exec_->err(), err, mode);
    }
    std::vector<asio::awaitable<Result<void>>> works;
    works.push_back(take(exec_->out(), out, mode));
    works.push_back(take(exec_->err(), err, mode));
    works.push_back(watch());
    auto together = all(std::move(works));
    co_return co_await std::move(together);
}

asio::awaitable<Result<void>> ExecFollower::snapshot() {
    end_.set();
    SBX_CO_CHECK(co_await take(exec_->out(), out, engine::OverLimit::truncate));
    co_return co_await take(exec_->err(), err, engine::OverLimit::truncate);
}

asio::awaitable<Result<void>> ExecFollower::feed(std::string input) {
    auto write = exec_->write_stdin(std::move(input), deadline_);
    auto over = end_.wait(Deadline::never());
    auto either = race(std::move(write), std::move(over));
    const Raced raced = co_await std::move(either);
    if (!raced.finished || !raced.result) co_return Result<void>{};  // nobody reads it
    auto closed = co_await exec_->close_stdin(deadline_);
    if (!closed) log::debug("ignoring: stdin was closed before its end", {{"error", closed.error()}});
    co_return Result<void>{};
}

asio::awaitable<Result<void>> ExecFollower::meter(EventSink& sink, Deadline::Clock::duration period) {
    while (!end_.is_set()) {
        auto ended = co_await end_.wait(Deadline::after(period));
        if (ended) break;
        if (!ended.error().is(Errc::timeout)) co_return std::move(ended).error();
        nlohmann::json event = {{"type", "meter"}, {"usage", usage_json(exec_->usage())}};
        SBX_CO_CHECK(co_await sink.send(std::move(event)));
    }
    co_return Result<void>{};
}

asio::awaitable<void> kill_abandoned(engine::ExecPtr exec) {
    if (exec->status() != engine::ExecStatus::running) co_return;
    auto killed = co_await exec->send_signal(SIGKILL, engine::SignalScope::tree, Deadline::after(kKillTimeout));
    if (killed || exec->status() != engine::ExecStatus::running) co_return;
    log::warn("an abandoned program could not be killed", {{"exec", exec->id().str()}, {"error", killed.error()}});
}

}  // namespace sandboxd::api
