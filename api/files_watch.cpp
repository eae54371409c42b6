#include <boost/asio/this_coro.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "api/exec_answer.hpp"
#include "api/exec_params.hpp"
#include "api/exec_routes.hpp"
#include "api/exec_socket.hpp"
#include "api/files_info.hpp"
#include "api/sandbox_ref.hpp"
#include "api/stream_events.hpp"
#include "api/stream_race.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

asio::awaitable<Result<void>> next_event(engine::FileWatch& watch, engine::FileEvent& event) {
    SBX_CO_TRY(event, co_await watch.next(Deadline::never()));
    co_return Result<void>{};
}

asio::awaitable<Result<void>> send_changes(engine::FileWatch& watch, SocketSink& sink, Latch& end) {
    json ready = {{"type", "ready"}};  // what happens from now on is reported
    SBX_CO_CHECK(co_await sink.send(std::move(ready)));
    while (!end.is_set()) {
        engine::FileEvent event;
        auto next = next_event(watch, event);
        auto over = end.wait(Deadline::never());
        auto either = race(std::move(next), std::move(over));
        Raced raced = co_await std::move(either);
        if (!raced.result) co_return std::move(raced.result);
        if (!raced.finished) break;
        json change = {{"type", engine::to_string(event.kind)}, {"path", encode(event.path, Encoding::text)}};
        SBX_CO_CHECK(co_await sink.send(std::move(change)));
    }
    co_return Result<void>{};
}

asio::awaitable<Result<void>> write_side(engine::FileWatch& watch, WebSocket& socket, SocketSink& sink, Latch& end) {
    auto sent = co_await send_changes(watch, sink, end);
    const bool client_left = end.is_set();
    end.set();
    if (client_left) co_return Result<void>{};
    std::uint16_t code = 1000;
    if (!sent) {
        code = close_code(sent.error());
        json event = error_event(sent.error());
        (void)co_await sink.send(std::move(event));  // the close says it too
    }
    co_await socket.close(code, "the watch has ended");
    co_return Result<void>{};
}

// A watcher has nothing to say; reading is how its close is seen.
asio::awaitable<Result<void>> read_side(WebSocket& socket, Latch& end) {
    while (true) {
        auto message = co_await socket.read(Deadline::never());
        if (message) continue;
        end.set();
        co_return Result<void>{};
    }
}

}  // namespace

asio::awaitable<Result<void>> watch_files(Exchange& exchange) {
    SBX_CO_TRY(const engine::SandboxPtr sandbox, find_sandbox(exchange));
    SBX_CO_TRY(std::string path, query_path(exchange));
    SBX_CO_TRY(engine::User user, query_user(exchange));
    SBX_CO_TRY(const bool recursive, query_flag(exchange, "recursive"));
    // Before the upgrade, so that a path that is not there is an ordinary 404.
    SBX_CO_TRY(const std::unique_ptr<engine::FileWatch> watch,
               co_await sandbox->files().watch(std::move(path), recursive, std::move(user), Deadline::after(kFileTimeout)));
    SBX_CO_TRY(const std::unique_ptr<WebSocket> socket, co_await exchange.upgrade());
    const auto executor = co_await asio::this_coro::executor;
    SocketSink sink{*socket, Encoding::text, executor};
    Latch end{executor};
    std::vector<asio::awaitable<Result<void>>> sides;
    sides.push_back(write_side(*watch, *socket, sink, end));
    sides.push_back(read_side(*socket, end));
    auto together = all(std::move(sides));
    co_return co_await std::move(together);
}

}  // namespace sandboxd::api
