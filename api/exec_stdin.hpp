#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <deque>
#include <string>

#include "api/stream_events.hpp"
#include "api/stream_race.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/exec.hpp"

namespace sandboxd::api {

// What a client has sent for a program's stdin and the program has not taken yet. It stands between the two so that a
// full pipe does not keep the client's next signal from being read. Bounded: past the bound the client waits after all.
class StdinQueue {
public:
    static constexpr std::size_t kMax = std::size_t{4} << 20;

    // `end` ends everything; it must outlive the queue.
    StdinQueue(asio::any_io_executor executor, Latch& end) : changed_{std::move(executor)}, end_{end} {}

    // Completes when there was room, or at the end.
    [[nodiscard]] asio::awaitable<Result<void>> push(std::string data);
    // Closes stdin behind what was pushed.
    void close();
    // Moves the data to the program until the end. When the program no longer takes it, `sink` gets one error event,
    // and what still comes is dropped.
    [[nodiscard]] asio::awaitable<Result<void>> drain(engine::Exec& exec, EventSink& sink);

private:
    [[nodiscard]] asio::awaitable<Result<void>> wait_for_work();
    [[nodiscard]] asio::awaitable<Result<void>> wait_for_room(std::size_t size);
    [[nodiscard]] asio::awaitable<Result<void>> deliver(engine::Exec& exec);
    [[nodiscard]] asio::awaitable<Result<void>> until_end(asio::awaitable<Result<void>> work);

    Event changed_;
    Latch& end_;
    std::deque<std::string> data_;
    std::size_t bytes_ = 0;
    bool closing_ = false;
    bool refused_ = false;
};

}  // namespace sandboxd::api
