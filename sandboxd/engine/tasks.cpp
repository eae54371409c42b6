#include "sandboxd/engine/tasks.hpp"

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <utility>

namespace sandboxd::engine {

asio::awaitable<void> until_cancelled(asio::awaitable<void> body) {
    try {
        co_await std::move(body);
    } catch (const boost::system::system_error& e) {
        if (e.code() != asio::error::operation_aborted) throw;
    }
}

}  // namespace sandboxd::engine
