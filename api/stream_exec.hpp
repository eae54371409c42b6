#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <string>

#include "api/exec_answer.hpp"
#include "api/stream_events.hpp"
#include "api/stream_race.hpp"
#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/exec.hpp"
#include "sandboxd/engine/output.hpp"

namespace sandboxd::api {

// Follows one exec for one client, from any offset of its output to its end. The coroutines of one session run at the
// same time on its executor and end together: when the program has ended, or by abort(). Must outlive them.
class ExecFollower {
public:
    // `deadline`: when even a program whose own limit failed is given up (timeout).
    ExecFollower(asio::any_io_executor executor, engine::ExecPtr exec, Deadline deadline)
        : exec_{std::move(exec)}, deadline_{deadline}, end_{std::move(executor)} {}

    // Sends the output as events and completes when the program has ended and all of its output is sent, or at the
    // first failure of the sink. stdout and stderr go at the same time; each keeps its order.
    [[nodiscard]] asio::awaitable<Result<void>> stream(EventSink& sink, std::uint64_t out_offset, std::uint64_t err_offset);
    // Waits for the end and takes the output into out and err. `mode` as the exec was started with: with block the
    // output is taken while it runs, since the program waits for that.
    [[nodiscard]] asio::awaitable<Result<void>> collect(engine::OverLimit mode);
    // What is there now, without waiting.
    [[nodiscard]] asio::awaitable<Result<void>> snapshot();
    // Writes stdin and closes it. A program that ends or closes its stdin before has not failed.
    [[nodiscard]] asio::awaitable<Result<void>> feed(std::string input);
    // A meter event after each `period`.
    [[nodiscard]] asio::awaitable<Result<void>> meter(EventSink& sink, Deadline::Clock::duration period);

    // Ends everything at the next event's border.
    void abort() noexcept {
        aborted_ = true;
        end_.set();
    }
    [[nodiscard]] bool aborted() const noexcept { return aborted_; }
    [[nodiscard]] Latch& end() noexcept { return end_; }
    [[nodiscard]] engine::Exec& exec() noexcept { return *exec_; }
    // From now on only the client's word counts as consumption of blocking output, not what was sent.
    void acknowledged_only() noexcept { acknowledged_ = true; }

    InlineOutput out;
    InlineOutput err;

private:
    [[nodiscard]] asio::awaitable<Result<void>> watch();
    [[nodiscard]] asio::awaitable<Result<void>> pump(engine::Output& output, StreamKind kind, std::uint64_t offset, EventSink& sink);
    [[nodiscard]] asio::awaitable<Result<void>> pump_pieces(engine::Output& output, StreamKind kind, std::uint64_t offset, EventSink& sink);
    [[nodiscard]] asio::awaitable<Result<void>> take(engine::Output& output, InlineOutput& into, engine::OverLimit mode);
    [[nodiscard]] asio::awaitable<Result<void>> take_pieces(engine::Output& output, InlineOutput& into, engine::OverLimit mode);

    engine::ExecPtr exec_;
    Deadline deadline_;
    Latch end_;
    bool aborted_ = false;
    bool acknowledged_ = false;
};

// SIGKILL to all processes of an exec whose client has gone. One that has ended meanwhile is no error.
[[nodiscard]] asio::awaitable<void> kill_abandoned(engine::ExecPtr exec);

}  // namespace sandboxd::api
