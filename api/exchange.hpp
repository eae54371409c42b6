#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::engine {
class Engine;
}

namespace sandboxd::api {

class Metrics;

namespace asio = boost::asio;

// Who asks, as authentication found it.
struct Caller {
    TenantId tenant;
    bool admin = false;
    KeyId key;  // empty for a peer that the Unix socket vouches for
};

struct Response {
    unsigned status = 200;
    std::string content_type = "application/json";
    std::string body;
    std::vector<std::pair<std::string, std::string>> headers;
};

// A WebSocket that an exchange was upgraded to. One reader and one writer at a time. Pings, pongs and limits (1 MiB per
// message in, idle time-out) are its own business.
class WebSocket {
public:
    struct Message {
        bool binary = false;
        std::string data;
    };
    virtual ~WebSocket() = default;
    // canceled when the peer has closed or is gone.
    [[nodiscard]] virtual asio::awaitable<Result<Message>> read(Deadline deadline) = 0;
    // Completes when the bytes are handed to the kernel: a slow peer holds the sender back. timeout after the server's
    // slow-client limit.
    [[nodiscard]] virtual asio::awaitable<Result<void>> send_text(std::string text) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<void>> send_binary(std::span<const std::byte> head, std::span<const std::byte> data) = 0;
    [[nodiscard]] virtual asio::awaitable<void> close(std::uint16_t code, std::string reason) = 0;
};

// One request and its answer. Lives on the session's coroutine; handlers must not keep it.
class Exchange {
public:
    virtual ~Exchange() = default;

    [[nodiscard]] virtual std::string_view method() const = 0;
    [[nodiscard]] virtual std::string_view path() const = 0;                                   // decoded, without the query
    [[nodiscard]] virtual std::string_view param(std::string_view name) const = 0;             // of the route's pattern
    [[nodiscard]] virtual std::optional<std::string> query(std::string_view name) const = 0;   // decoded
    // The parameters whose names begin with `prefix`, which must be that of a `PREFIX*` field of Route::query: what follows
    // the prefix, and the value, both decoded, in the order of the request.
    [[nodiscard]] virtual std::vector<std::pair<std::string, std::string>> queries(std::string_view prefix) const = 0;
    [[nodiscard]] virtual std::optional<std::string_view> header(std::string_view name) const = 0;
    [[nodiscard]] virtual const Caller& caller() const = 0;
    [[nodiscard]] virtual const std::string& request_id() const = 0;
    [[nodiscard]] virtual engine::Engine& engine() = 0;
    [[nodiscard]] virtual const NodeIdentity& node() const = 0;  // of this daemon: ids say where they were made
    [[nodiscard]] virtual Metrics& metrics() = 0;

    // The request's body: whole (payload_too_large above the configured limit), or in pieces of any total size (0: end).
    [[nodiscard]] virtual std::optional<std::uint64_t> content_length() const = 0;
    [[nodiscard]] virtual asio::awaitable<Result<std::string>> body() = 0;
    [[nodiscard]] virtual asio::awaitable<Result<std::size_t>> read_body(std::span<std::byte> buffer) = 0;

    // The answer, exactly one of: respond(), begin()+write()*+finish(), upgrade().
    [[nodiscard]] virtual asio::awaitable<Result<void>> respond(Response response) = 0;
    // Starts a streamed answer: chunked, or with a Content-Length when the size is known. Each write is flushed; it
    // completes when the kernel took the bytes, so a slow client holds the writer back.
    [[nodiscard]] virtual asio::awaitable<Result<void>> begin(Response head, std::optional<std::uint64_t> length) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<void>> write(std::span<const std::byte> data) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<void>> finish() = 0;
    [[nodiscard]] virtual bool begun() const = 0;
    [[nodiscard]] virtual asio::awaitable<Result<std::unique_ptr<WebSocket>>> upgrade() = 0;

    // Completes when the client has closed its connection while the answer is not finished (half-close counts as gone).
    // For racing against long work with ||; cancelling it has no effect on the connection.
    [[nodiscard]] virtual asio::awaitable<void> client_gone() = 0;

    // Runs `task` to its end beside and beyond this exchange; the server owns it and waits for it before it is gone. For
    // clean-up that the answer must not wait for. May be called by destructors on every way out of a handler.
    virtual void background(std::string name, asio::awaitable<void> task) = 0;
};

}  // namespace sandboxd::api
