#include "sandboxd/core/async.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/log.hpp"

namespace sandboxd {
namespace {

using namespace std::chrono_literals;

struct Pipe {
    Fd read_end;
    Fd write_end;
    Pipe() {
        std::array<int, 2> ends{};
        REQUIRE(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
        read_end = Fd{ends[0]};
        write_end = Fd{ends[1]};
    }
    void write() const { REQUIRE(::write(write_end.get(), "x", 1) == 1); }
};

// Runs a test's coroutine to its end. Its exception is the test's.
void run(asio::io_context& context, asio::awaitable<void> task) {
    bool done = false;
    std::exception_ptr failure;
    asio::co_spawn(context, std::move(task), [&](std::exception_ptr e) {
        done = true;
        failure = e;
    });
    context.run();
    context.restart();
    REQUIRE(done);
    if (failure) std::rethrow_exception(failure);
}

using Outcome = std::optional<Result<void>>;

// Keeps what a wait ended with. By reference: the tests outlive their tasks.
asio::awaitable<void> keep(asio::awaitable<Result<void>> wait, Outcome& out) {
    auto result = co_await std::move(wait);
    out.emplace(std::move(result));
}

// Lets everything run that is ready.
asio::awaitable<void> turn() {
    auto executor = co_await asio::this_coro::executor;
    for (int i = 0; i < 10; ++i) co_await asio::post(executor, asio::use_awaitable);
}

std::size_t open_descriptors() {
    std::size_t count = 0;
    for (int fd = 0; fd < 256; ++fd) {
        if (::fcntl(fd, F_GETFD) != -1) ++count;
    }
    return count;
}

// --- wait_fd
// -----------------------------------------------------------------------------------------------------

asio::awaitable<void> check_ready(Pipe& pipe) {
    pipe.write();
    // Level-triggered: as long as the byte is there, every wait ends at once.
    for (int i = 0; i < 3; ++i) {
        auto result = co_await wait_fd(pipe.read_end.get(), Ready::read, Deadline::after(10s));
        CHECK(result);
        result = co_await wait_fd(pipe.write_end.get(), Ready::write, Deadline::never());
        CHECK(result);
    }
}

TEST_CASE("a descriptor that is ready is so for every wait, and stays its owner's") {
    asio::io_context context;
    Pipe pipe;
    run(context, check_ready(pipe));  // the loop makes its own descriptors at the first wait
    const std::size_t before = open_descriptors();
    run(context, check_ready(pipe));
    CHECK(open_descriptors() == before);
    CHECK(::fcntl(pipe.read_end.get(), F_GETFD) != -1);
}

asio::awaitable<void> check_later(Pipe& pipe, TaskGroup& group) {
    Outcome outcome;
    auto wait = wait_fd(pipe.read_end.get(), Ready::read, Deadline::after(10s));
    group.spawn("reader", keep(std::move(wait), outcome));
    co_await turn();
    CHECK(!outcome);
    pipe.write();
    auto joined = co_await group.join(Deadline::after(10s));
    CHECK(joined);
    CHECK((outcome && *outcome));
}

TEST_CASE("a descriptor that becomes ready ends the wait") {
    asio::io_context context;
    Pipe pipe;
    TaskGroup group{context.get_executor()};
    run(context, check_later(pipe, group));
}

asio::awaitable<void> check_hang_up(Pipe& pipe) {
    pipe.write_end.reset();
    auto result = co_await wait_fd(pipe.read_end.get(), Ready::read, Deadline::after(10s));
    CHECK(result);
}

TEST_CASE("a hang-up counts as ready: the read says the rest") {
    asio::io_context context;
    Pipe pipe;
    run(context, check_hang_up(pipe));
}

asio::awaitable<void> check_deadline(Pipe& pipe) {
    auto result = co_await wait_fd(pipe.read_end.get(), Ready::read, Deadline::after(5ms));
    REQUIRE(!result);
    CHECK(result.error().is(Errc::timeout));
    result = co_await wait_fd(pipe.read_end.get(), Ready::read, Deadline::after(-1s));
    REQUIRE(!result);
    CHECK(result.error().is(Errc::timeout));
    // And the descriptor can be waited for again.
    pipe.write();
    result = co_await wait_fd(pipe.read_end.get(), Ready::read, Deadline::after(10s));
    CHECK(result);
}

TEST_CASE("a wait ends at its deadline, and leaves the descriptor usable") {
    asio::io_context context;
    Pipe pipe;
    run(context, check_deadline(pipe));
}

asio::awaitable<void> check_not_pollable() {
    auto result = co_await wait_fd(-1, Ready::read, Deadline::after(10s));
    CHECK(!result);
    const Fd file{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};
    result = co_await wait_fd(file.get(), Ready::read, Deadline::after(10s));
    CHECK(!result);
    CHECK(::fcntl(file.get(), F_GETFD) != -1);
}

TEST_CASE("what can't be waited for is an error, and is not closed") {
    asio::io_context context;
    run(context, check_not_pollable());
}

asio::awaitable<void> check_cancel(Pipe& pipe, TaskGroup& group) {
    std::array<Outcome, 4> outcomes;
    auto with_deadline = wait_fd(pipe.read_end.get(), Ready::read, Deadline::after(1h));
    group.spawn("with a deadline", keep(std::move(with_deadline), outcomes[0]));
    Pipe other;
    auto without = wait_fd(other.read_end.get(), Ready::read, Deadline::never());
    group.spawn("without", keep(std::move(without), outcomes[1]));
    group.spawn("sleeper", keep(sleep_until(Deadline::after(1h)), outcomes[2]));
    auto executor = co_await asio::this_coro::executor;
    Event event{executor};
    group.spawn("event", keep(event.wait(Deadline::after(1h)), outcomes[3]));
    co_await turn();
    CHECK(group.size() == 4);
    group.cancel();
    auto joined = co_await group.join(Deadline::after(10s));
    CHECK(joined);
    for (const Outcome& outcome : outcomes) {
        REQUIRE(outcome);
        REQUIRE(!*outcome);
        CHECK(outcome->error().is(Errc::canceled));
    }
}

TEST_CASE("every kind of wait ends with canceled when its task is cancelled") {
    asio::io_context context;
    Pipe pipe;
    TaskGroup group{context.get_executor()};
    run(context, check_cancel(pipe, group));
}

// --- Event
// -------------------------------------------------------------------------------------------------------

asio::awaitable<void> wait_for(Event& event, const bool& condition, int& woken) {
    while (!condition) {
        auto result = co_await event.wait(Deadline::after(10s));
        CHECK(result);
    }
    ++woken;
}

asio::awaitable<void> check_event(Event& event, TaskGroup& group) {
    bool condition = false;
    int woken = 0;
    for (int i = 0; i < 5; ++i) group.spawn("waiter", wait_for(event, condition, woken));
    co_await turn();
    event.notify();  // spurious for them
    co_await turn();
    CHECK(woken == 0);
    condition = true;
    event.notify();
    event.notify();
    auto joined = co_await group.join(Deadline::after(10s));
    CHECK(joined);
    CHECK(woken == 5);
    event.notify();  // nobody is there
}

TEST_CASE("a notification wakes everybody who waits, as often as it comes") {
    asio::io_context context;
    Event event{context.get_executor()};
    TaskGroup group{context.get_executor()};
    run(context, check_event(event, group));
}

asio::awaitable<void> check_event_deadline(Event& event) {
    auto result = co_await event.wait(Deadline::after(2ms));
    REQUIRE(!result);
    CHECK(result.error().is(Errc::timeout));
}

TEST_CASE("waiting for an event ends at the deadline") {
    asio::io_context context;
    Event event{context.get_executor()};
    run(context, check_event_deadline(event));
}

asio::awaitable<void> check_never(Event& event, TaskGroup& group) {
    Outcome outcome;
    group.spawn("patient", keep(event.wait(Deadline::never()), outcome));
    co_await turn();
    CHECK(!outcome);
    event.notify();
    auto joined = co_await group.join(Deadline::never());
    CHECK(joined);
    CHECK((outcome && *outcome));
}

TEST_CASE("never is a deadline that does not come") {
    asio::io_context context;
    Event event{context.get_executor()};
    TaskGroup group{context.get_executor()};
    run(context, check_never(event, group));
}

// --- BlockingPool
// ------------------------------------------------------------------------------------------------

asio::awaitable<void> check_pool(BlockingPool& pool) {
    const std::thread::id here = std::this_thread::get_id();
    for (int i = 0; i < 50; ++i) {
        std::thread::id there;
        auto work = [&there] { there = std::this_thread::get_id(); };
        co_await pool.run(std::move(work));
        CHECK(there != std::thread::id{});
        CHECK(there != here);
        CHECK(std::this_thread::get_id() == here);
    }
}

TEST_CASE("blocking work runs elsewhere and its coroutine goes on where it was") {
    asio::io_context context;
    BlockingPool pool{2};
    run(context, check_pool(pool));
}

asio::awaitable<void> slow_work(BlockingPool& pool, bool& finished) {
    auto work = [&finished] {
        std::this_thread::sleep_for(20ms);  // the work itself, not a wait for a state
        finished = true;
    };
    co_await pool.run(std::move(work));
}

TEST_CASE("an event loop with nothing else to do waits for blocking work") {
    asio::io_context context;
    BlockingPool pool{1};
    bool finished = false;
    run(context, slow_work(pool, finished));  // run() requires that the coroutine has ended
    CHECK(finished);
}

asio::awaitable<void> check_pool_release(BlockingPool& pool, std::weak_ptr<int>& seen) {
    auto owned = std::make_shared<int>(1);
    seen = owned;
    auto work = [owned = std::move(owned)] { (void)*owned; };
    co_await pool.run(std::move(work));
    CHECK(seen.expired());
}

TEST_CASE("what the work owns is gone when the coroutine goes on") {
    asio::io_context context;
    BlockingPool pool{1};
    std::weak_ptr<int> seen;
    run(context, check_pool_release(pool, seen));
}

asio::awaitable<void> check_pool_cancel(BlockingPool& pool, TaskGroup& group) {
    bool finished = false;
    group.spawn("worker", slow_work(pool, finished));
    co_await turn();
    group.cancel();
    auto joined = co_await group.join(Deadline::after(10s));
    CHECK(joined);
    CHECK(finished);  // its references were valid to its end
}

TEST_CASE("cancelling does not leave work behind that still runs") {
    asio::io_context context;
    BlockingPool pool{1};
    TaskGroup group{context.get_executor()};
    run(context, check_pool_cancel(pool, group));
}

// --- TaskGroup
// ---------------------------------------------------------------------------------------------------

// What the log says while it lives.
class CapturedLog {
public:
    CapturedLog() {
        Pipe pipe;
        read_end_ = std::move(pipe.read_end);
        saved_ = Fd{::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)};
        REQUIRE(::dup2(pipe.write_end.get(), STDERR_FILENO) == STDERR_FILENO);
        log::init("core_unit_test", log::Level::info);
    }
    ~CapturedLog() { restore(); }
    std::string text() {
        restore();
        std::string out(65536, '\0');
        const ssize_t n = ::read(read_end_.get(), out.data(), out.size());
        out.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
        return out;
    }

private:
    void restore() {
        if (!saved_.valid()) return;
        ::dup2(saved_.get(), STDERR_FILENO);
        saved_.reset();
    }
    Fd read_end_;
    Fd saved_;
};

asio::awaitable<void> sleeper(int& ended) {
    (void)co_await sleep_until(Deadline::after(1h));
    ++ended;
}

asio::awaitable<void> check_group(TaskGroup& group) {
    int ended = 0;
    for (int i = 0; i < 20; ++i) group.spawn("sleeper", sleeper(ended));
    CHECK(group.size() == 20);
    co_await turn();
    auto joined = co_await group.join(Deadline::after(5ms));
    REQUIRE(!joined);
    CHECK(joined.error().is(Errc::timeout));
    CHECK(group.size() == 20);
    group.cancel();
    group.cancel();
    joined = co_await group.join(Deadline::after(10s));
    CHECK(joined);
    CHECK(group.size() == 0);
    CHECK(ended == 20);
}

TEST_CASE("a group cancels and awaits its children, and says at the deadline that some still run") {
    asio::io_context context;
    TaskGroup group{context.get_executor()};
    run(context, check_group(group));
}

asio::awaitable<void> check_spawn_after_cancel(TaskGroup& group) {
    group.cancel();
    int ended = 0;
    group.spawn("late", sleeper(ended));
    auto joined = co_await group.join(Deadline::after(10s));
    CHECK(joined);
    CHECK(ended == 1);
}

TEST_CASE("a task that comes after the cancellation is cancelled at once") {
    asio::io_context context;
    TaskGroup group{context.get_executor()};
    run(context, check_spawn_after_cancel(group));
}

asio::awaitable<void> failing() {
    co_await turn();
    throw std::runtime_error{"it broke"};
}

asio::awaitable<void> check_failure(TaskGroup& group) {
    int ended = 0;
    group.spawn("broken task", failing());
    group.spawn("sound task", sleeper(ended));
    co_await turn();
    co_await turn();
    CHECK(group.size() == 1);
    group.cancel();
    auto joined = co_await group.join(Deadline::after(10s));
    CHECK(joined);
    CHECK(ended == 1);
}

TEST_CASE("an exception ends its own task only, and is logged with the task's name") {
    CapturedLog captured;
    asio::io_context context;
    TaskGroup group{context.get_executor()};
    run(context, check_failure(group));
    const std::string text = captured.text();
    CHECK_THAT(text, Catch::Contains("broken task") && Catch::Contains("it broke"));
    CHECK_THAT(text, !Catch::Contains("sound task"));
}

// Looks at no result: after its cancellation the next co_await throws.
asio::awaitable<void> careless() {
    for (;;) {
        (void)co_await sleep_until(Deadline::after(1h));
    }
}

asio::awaitable<void> check_careless(TaskGroup& group) {
    group.spawn("careless task", careless());
    co_await turn();
    group.cancel();
    auto joined = co_await group.join(Deadline::after(10s));
    CHECK(joined);
}

TEST_CASE("a task that ends by its cancellation is not logged as a failure") {
    CapturedLog captured;
    asio::io_context context;
    TaskGroup group{context.get_executor()};
    run(context, check_careless(group));
    CHECK(captured.text().empty());
}

asio::awaitable<void> spawn_another(TaskGroup& group, int left, int& ended) {
    co_await turn();
    if (left > 0) group.spawn("grandchild", spawn_another(group, left - 1, ended));
    ++ended;
}

asio::awaitable<void> check_nested(TaskGroup& group) {
    int ended = 0;
    group.spawn("child", spawn_another(group, 9, ended));
    auto joined = co_await group.join(Deadline::after(10s));
    CHECK(joined);
    CHECK(ended == 10);
}

TEST_CASE("join waits for tasks that tasks spawn") {
    asio::io_context context;
    TaskGroup group{context.get_executor()};
    run(context, check_nested(group));
}

asio::awaitable<void> instant(int& ended) {
    ++ended;
    co_return;
}

asio::awaitable<void> check_churn(TaskGroup& group) {
    int ended = 0;
    for (int i = 0; i < 500; ++i) {
        group.spawn("short", instant(ended));
        group.spawn("turns", spawn_another(group, 0, ended));
        if (i % 7 == 0) co_await turn();
    }
    group.cancel();
    auto joined = co_await group.join(Deadline::after(10s));
    CHECK(joined);
    CHECK(group.size() == 0);
}

TEST_CASE("many short tasks come and go, some while the group is cancelled") {
    asio::io_context context;
    TaskGroup group{context.get_executor()};
    run(context, check_churn(group));
}

}  // namespace
}  // namespace sandboxd
