#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "api/exchange.hpp"
#include "api/stream_encoding.hpp"
#include "api/stream_race.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::api {

// The value is the first byte of a binary WebSocket frame.
enum class StreamKind : std::uint8_t { out = 1, err = 2, pty = 3 };
[[nodiscard]] std::string_view to_string(StreamKind kind) noexcept;  // "stdout", "stderr", "pty"

// Where the events of one exec go. Coroutines of one session send at the same time; each event leaves whole.
class EventSink {
public:
    virtual ~EventSink() = default;
    // `event` is an object with a "type".
    [[nodiscard]] asio::awaitable<Result<void>> send(nlohmann::json event);
    // Output that begins at `offset`; `bytes` must stay until it completes.
    [[nodiscard]] asio::awaitable<Result<void>> send_output(StreamKind kind, std::uint64_t offset, std::span<const std::byte> bytes);
    [[nodiscard]] Encoding encoding() const noexcept { return encoding_; }
    // Sends a sign of life after each `period` without any event, until `end` is set. Only where the format has one.
    [[nodiscard]] asio::awaitable<Result<void>> keep_alive(Deadline::Clock::duration period, Latch& end);

protected:
    EventSink(asio::any_io_executor executor, Encoding encoding) : turn_{std::move(executor)}, encoding_{encoding} {}
    // One at a time. `object` is a JSON text without a line break.
    [[nodiscard]] virtual asio::awaitable<Result<void>> write(std::string_view type, std::string object) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<void>> write_binary(StreamKind kind, std::uint64_t offset, std::span<const std::byte> bytes);
    [[nodiscard]] virtual asio::awaitable<Result<void>> write_sign_of_life();

private:
    Turn turn_;
    Encoding encoding_;
    Deadline::Clock::time_point last_{};
};

enum class StreamFormat { ndjson, sse };
[[nodiscard]] std::string_view content_type(StreamFormat format) noexcept;

// Events as the chunks of an HTTP answer that has begun.
class HttpSink final : public EventSink {
public:
    HttpSink(Exchange& exchange, StreamFormat format, Encoding encoding, asio::any_io_executor executor)
        : EventSink{std::move(executor), encoding}, exchange_{exchange}, format_{format} {}

private:
    asio::awaitable<Result<void>> write(std::string_view type, std::string object) override;
    asio::awaitable<Result<void>> write_sign_of_life() override;
    asio::awaitable<Result<void>> write_text(std::string text);
    Exchange& exchange_;
    StreamFormat format_;
};

// Events as the messages of a WebSocket; output in binary frames where the encoding says so.
class SocketSink final : public EventSink {
public:
    SocketSink(WebSocket& socket, Encoding encoding, asio::any_io_executor executor)
        : EventSink{std::move(executor), encoding}, socket_{socket} {}

private:
    asio::awaitable<Result<void>> write(std::string_view type, std::string object) override;
    asio::awaitable<Result<void>> write_binary(StreamKind kind, std::uint64_t offset, std::span<const std::byte> bytes) override;
    WebSocket& socket_;
};

// The format that the Accept header prefers over plain JSON; nothing: JSON. not_acceptable when it takes none of them.
[[nodiscard]] Result<std::optional<StreamFormat>> wanted_stream(const Exchange& exchange);

}  // namespace sandboxd::api
