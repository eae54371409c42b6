#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>

#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/result.hpp"

// The few asynchronous building blocks that Asio of Boost 1.81 lacks. Everything here is for one
// thread (one executor) unless it says otherwise.
//
// g++ 12 rule for every coroutine of this project: one co_await per statement, and in that statement
// no capturing lambda, no braced temporary, no ?: and no switch. Name it first, then std::move it.
namespace sandboxd {

namespace asio = boost::asio;

// Level-triggered readiness of a descriptor that somebody else owns (pidfd, pipe, socket).
// Does not close it. timeout at the deadline; canceled when the awaiting coroutine is cancelled.
enum class Ready { read, write };
[[nodiscard]] asio::awaitable<Result<void>> wait_fd(int fd, Ready ready, Deadline deadline);

[[nodiscard]] asio::awaitable<Result<void>> sleep_until(Deadline deadline);

// Something that happens many times; waiters are woken by each notify(). Lost wake-ups are avoided
// by the usual loop: while (!condition) co_await event.wait(deadline). Must outlive its waiters.
class Event {
public:
    explicit Event(asio::any_io_executor executor);
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    ~Event();

    void notify();
    // ok when notified, timeout, or canceled.
    [[nodiscard]] asio::awaitable<Result<void>> wait(Deadline deadline);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Runs blocking work on a small thread pool and completes on the caller's executor.
class BlockingPool {
public:
    explicit BlockingPool(unsigned threads);
    ~BlockingPool();  // joins; queued work is dropped

    // `work` runs on a pool thread; what it captures must be owned by it. It must not throw: there
    // is nobody on that thread to catch it. Not interrupted by cancellation: the coroutine waits
    // for the work to end.
    [[nodiscard]] asio::awaitable<void> run(std::function<void()> work);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Owns child coroutines: cancels and awaits them before it is gone. An exception that leaves a child
// is logged and ends that child only; the one that Asio throws out of a cancelled child's next
// co_await is its ordinary end and is not logged.
class TaskGroup {
public:
    explicit TaskGroup(asio::any_io_executor executor);
    TaskGroup(const TaskGroup&) = delete;
    TaskGroup& operator=(const TaskGroup&) = delete;
    ~TaskGroup();  // asserts that join() has completed or that nothing was ever running

    void spawn(std::string name, asio::awaitable<void> task);
    [[nodiscard]] std::size_t size() const noexcept;
    // Total cancellation of all children now; later spawns are cancelled at once.
    void cancel();
    // Completes when no child is left; timeout at the deadline (children then still run).
    [[nodiscard]] asio::awaitable<Result<void>> join(Deadline deadline);

private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace sandboxd
