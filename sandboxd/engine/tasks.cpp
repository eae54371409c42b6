#include "sandboxd/engine/tasks.hpp"

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <utility>

#include "sandboxd/core/log.hpp"

namespace sandboxd::engine {

namespace {

constexpr auto kPatience = std::chrono::seconds{5};

}  // namespace

asio::awaitable<void> until_cancelled(asio::awaitable<void> body) {
    try {
        co_await std::move(body);
    } catch (const boost::system::system_error& e) {
        if (e.code() != asio::error::operation_aborted) throw;
    }
}

asio::awaitable<void> join_all(TaskGroup& group, std::string whose) {
    for (;;) {
        auto joined = co_await group.join(Deadline::after(kPatience));
        if (joined) co_return;
        log::warn("tasks take long to end", {{"of", whose}, {"tasks", group.size()}});
    }
}

}  // namespace sandboxd::engine
