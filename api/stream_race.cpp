#include "api/stream_race.hpp"

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/this_coro.hpp>
#include <utility>

namespace sandboxd::api {

asio::awaitable<Result<void>> Latch::wait(Deadline deadline) {
    while (!set_) SBX_CO_CHECK(co_await event_.wait(deadline));
    co_return Result<void>{};
}

asio::awaitable<Result<Turn::Held>> Turn::take() {
    while (taken_) SBX_CO_CHECK(co_await given_.wait(Deadline::never()));
    taken_ = true;
    co_return Held{*this};
}

asio::awaitable<Raced> race(asio::awaitable<Result<void>> work, asio::awaitable<Result<void>> other) {
    using namespace asio::experimental::awaitable_operators;
    auto either = std::move(work) || std::move(other);
    auto outcome = co_await std::move(either);
    Raced raced;
    raced.finished = outcome.index() == 0;
    raced.result = raced.finished ? std::get<0>(std::move(outcome)) : std::get<1>(std::move(outcome));
    co_return raced;
}

namespace {

asio::awaitable<Result<void>> both(asio::awaitable<Result<void>> first, asio::awaitable<Result<void>> second) {
    using namespace asio::experimental::awaitable_operators;
    auto together = std::move(first) && std::move(second);
    auto results = co_await std::move(together);
    auto& [one, two] = results;
    if (!one) co_return std::move(one);
    co_return std::move(two);
}

}  // namespace

asio::awaitable<Result<void>> all(std::vector<asio::awaitable<Result<void>>> works) {
    if (works.empty()) co_return Result<void>{};
    // From the back, so that the first error in the order of the list is the one that comes out.
    auto joined = std::move(works.back());
    for (std::size_t i = works.size() - 1; i-- > 0;) joined = both(std::move(works[i]), std::move(joined));
    co_return co_await std::move(joined);
}

}  // namespace sandboxd::api
