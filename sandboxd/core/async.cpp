#include "sandboxd/core/async.hpp"

#include <poll.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <list>

#include "sandboxd/core/assert.hpp"
#include "sandboxd/core/log.hpp"

namespace sandboxd {

namespace {

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);

Error canceled(const char* operation) { return Error{Errc::canceled, operation}; }

// Releases the descriptor on every way out, so that Asio never closes what it does not own.
struct Borrowed {
    asio::posix::stream_descriptor descriptor;
    ~Borrowed() {
        if (descriptor.is_open()) (void)descriptor.release();
    }
};

}  // namespace

namespace {

// Asio may report readiness that belonged to an earlier owner of its slot in the reactor: its own operations try again,
// a bare wait has to ask. Anything but "not yet" counts, errors too: the caller's next call meets them.
bool is_ready(int fd, Ready ready) {
    pollfd entry{fd, static_cast<short>(ready == Ready::read ? POLLIN : POLLOUT), 0};
    return ::poll(&entry, 1, 0) != 0;
}

asio::awaitable<Result<void>> wait_once(asio::posix::stream_descriptor& descriptor, asio::posix::descriptor_base::wait_type kind,
                                        Deadline deadline) {
    using namespace asio::experimental::awaitable_operators;
    if (deadline.is_never()) {
        auto [ec] = co_await descriptor.async_wait(kind, kTuple);
        if (ec) co_return canceled("wait");
        co_return Result<void>{};
    }
    asio::steady_timer timer{descriptor.get_executor(), deadline.time()};
    auto descriptor_wait = descriptor.async_wait(kind, kTuple);
    auto timer_wait = timer.async_wait(kTuple);
    auto both = std::move(descriptor_wait) || std::move(timer_wait);
    auto outcome = co_await std::move(both);
    if (outcome.index() == 1) {
        if (std::get<0>(std::get<1>(outcome))) co_return canceled("wait");
        co_return Error{Errc::timeout, "wait"};
    }
    if (std::get<0>(std::get<0>(outcome))) co_return canceled("wait");
    co_return Result<void>{};
}

}  // namespace

asio::awaitable<Result<void>> wait_fd(int fd, Ready ready, Deadline deadline) {
    auto executor = co_await asio::this_coro::executor;
    Borrowed borrowed{asio::posix::stream_descriptor{executor}};
    boost::system::error_code assign_error;
    borrowed.descriptor.assign(fd, assign_error);
    if (assign_error) co_return Error{assign_error, "wait", "descriptor"};
    const auto kind = ready == Ready::read ? asio::posix::descriptor_base::wait_read
                                           : asio::posix::descriptor_base::wait_write;
    do {
        SBX_CO_CHECK(co_await wait_once(borrowed.descriptor, kind, deadline));
    } while (!is_ready(fd, ready));
    co_return Result<void>{};
}

asio::awaitable<Result<void>> sleep_until(Deadline deadline) {
    auto executor = co_await asio::this_coro::executor;
    asio::steady_timer timer{executor, deadline.time()};
    auto [ec] = co_await timer.async_wait(kTuple);
    if (ec) co_return canceled("sleep");
    co_return Result<void>{};
}

// One timer per waiter: cancelling it is the wake-up, its expiry is the deadline.
struct Event::Impl {
    struct Waiter {
        asio::steady_timer timer;
        bool notified = false;
    };
    asio::any_io_executor executor;
    std::list<Waiter*> waiters;
};

Event::Event(asio::any_io_executor executor) : impl_{std::make_unique<Impl>()} { impl_->executor = std::move(executor); }

Event::~Event() { SBX_ASSERT(impl_->waiters.empty()); }

void Event::notify() {
    for (Impl::Waiter* waiter : impl_->waiters) {
        waiter->notified = true;
        waiter->timer.cancel();
    }
}

asio::awaitable<Result<void>> Event::wait(Deadline deadline) {
    Impl::Waiter waiter{asio::steady_timer{impl_->executor, deadline.time()}};
    const auto place = impl_->waiters.insert(impl_->waiters.end(), &waiter);
    struct Leave {
        std::list<Impl::Waiter*>& list;
        std::list<Impl::Waiter*>::iterator place;
        ~Leave() { list.erase(place); }
    } leave{impl_->waiters, place};
    auto [ec] = co_await waiter.timer.async_wait(kTuple);
    if (waiter.notified) co_return Result<void>{};
    if (ec) co_return canceled("wait");
    co_return Error{Errc::timeout, "wait"};
}

struct BlockingPool::Impl {
    explicit Impl(unsigned threads) : pool{threads} {}
    asio::thread_pool pool;
};

BlockingPool::BlockingPool(unsigned threads) : impl_{std::make_unique<Impl>(threads)} {}

BlockingPool::~BlockingPool() {
    impl_->pool.stop();
    impl_->pool.join();
}

asio::awaitable<void> BlockingPool::run(std::function<void()> work) {
    auto initiate = [this](auto handler, std::function<void()> body) {
        auto executor = asio::get_associated_executor(handler);
        auto shared = std::make_shared<decltype(handler)>(std::move(handler));
        asio::post(impl_->pool, [executor, shared, body = std::move(body)]() mutable {
            body();
            body = nullptr;
            asio::post(executor, [shared]() mutable { std::move (*shared)(); });
        });
    };
    co_await asio::async_initiate<decltype(asio::use_awaitable), void()>(std::move(initiate), asio::use_awaitable,
                                                                        std::move(work));
}

struct TaskGroup::Impl {
    struct Child {
        std::string name;
        asio::cancellation_signal signal;
    };
    explicit Impl(asio::any_io_executor ex) : executor{ex}, idle{std::move(ex)} {}
    asio::any_io_executor executor;
    std::list<Child> children;
    bool cancelled = false;
    Event idle;
};

namespace {

// After a cancellation, Asio throws operation_aborted out of the next co_await: the ordinary end of a cancelled task.
void report_failure(const std::string& task, const std::exception_ptr& failure, bool cancelled) {
    try {
        std::rethrow_exception(failure);
    } catch (const boost::system::system_error& e) {
        if (cancelled && e.code() == asio::error::operation_aborted) return;
        log::error("task failed", {{"task", task}, {"error", e.what()}});
    } catch (const std::exception& e) {
        log::error("task failed", {{"task", task}, {"error", e.what()}});
    }
}

}  // namespace

TaskGroup::TaskGroup(asio::any_io_executor executor) : impl_{std::make_shared<Impl>(std::move(executor))} {}

TaskGroup::~TaskGroup() { SBX_ASSERT(impl_->children.empty()); }

void TaskGroup::spawn(std::string name, asio::awaitable<void> task) {
    const auto child = impl_->children.emplace(impl_->children.end());
    child->name = std::move(name);
    // The handler keeps Impl alive: the group may be gone when a child that outlived join() ends.
    auto finished = [impl = impl_, child](std::exception_ptr failure) {
        if (failure) report_failure(child->name, failure, impl->cancelled);
        impl->children.erase(child);
        if (impl->children.empty()) impl->idle.notify();
    };
    asio::co_spawn(impl_->executor, std::move(task),
                   asio::bind_cancellation_slot(child->signal.slot(), std::move(finished)));
    if (impl_->cancelled) child->signal.emit(asio::cancellation_type::all);
}

std::size_t TaskGroup::size() const noexcept { return impl_->children.size(); }

void TaskGroup::cancel() {
    impl_->cancelled = true;
    for (auto child = impl_->children.begin(); child != impl_->children.end();) {
        // emit() may finish the child and erase it.
        const auto next = std::next(child);
        child->signal.emit(asio::cancellation_type::all);
        child = next;
    }
}

asio::awaitable<Result<void>> TaskGroup::join(Deadline deadline) {
    const auto impl = impl_;
    while (!impl->children.empty()) {
        auto woken = co_await impl->idle.wait(deadline);
        if (!woken) co_return std::move(woken).error();
    }
    co_return Result<void>{};
}

}  // namespace sandboxd
