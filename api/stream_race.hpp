#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <utility>
#include <vector>

#include "sandboxd/core/async.hpp"
#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/result.hpp"

// The ways in which the handlers run two things at once. They stand here, not at each place of use, because every
// instantiation of Asio's parallel group costs seconds of compile time.
namespace sandboxd::api {

namespace asio = boost::asio;

// Something that happens once. Any number of coroutines may wait for it; must outlive them.
class Latch {
public:
    explicit Latch(asio::any_io_executor executor) : event_{std::move(executor)} {}

    void set() {
        set_ = true;
        event_.notify();
    }
    [[nodiscard]] bool is_set() const noexcept { return set_; }
    // ok when it has happened; timeout; canceled.
    [[nodiscard]] asio::awaitable<Result<void>> wait(Deadline deadline);

private:
    Event event_;
    bool set_ = false;
};

// A right that one coroutine has at a time. Must outlive those who ask.
class Turn {
public:
    class Held {
    public:
        Held() = default;
        explicit Held(Turn& turn) noexcept : turn_{&turn} {}
        Held(Held&& other) noexcept : turn_{std::exchange(other.turn_, nullptr)} {}
        Held& operator=(Held&&) = delete;
        ~Held() {
            if (turn_) turn_->give();
        }

    private:
        Turn* turn_ = nullptr;
    };

    explicit Turn(asio::any_io_executor executor) : given_{std::move(executor)} {}
    // canceled when the awaiting coroutine is cancelled.
    [[nodiscard]] asio::awaitable<Result<Held>> take();

private:
    void give() {
        taken_ = false;
        given_.notify();
    }
    Event given_;
    bool taken_ = false;
};

struct Raced {
    bool finished = false;    // `work` came first
    Result<void> result{};    // of the one that came first
};
// Whichever comes first; the other one is cancelled and awaited.
[[nodiscard]] asio::awaitable<Raced> race(asio::awaitable<Result<void>> work, asio::awaitable<Result<void>> other);

// All of them to their ends, whatever each of them answers; the first error in their order.
[[nodiscard]] asio::awaitable<Result<void>> all(std::vector<asio::awaitable<Result<void>>> works);

}  // namespace sandboxd::api
