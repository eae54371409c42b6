#include "api/web_socket.hpp"

#include <array>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/websocket/rfc6455.hpp>
#include <boost/beast/websocket/stream.hpp>

#include "sandboxd/core/log.hpp"
#include "sandboxd/core/utf8.hpp"

namespace sandboxd::api {

namespace {

namespace websocket = boost::beast::websocket;

constexpr std::size_t kMessageMax = 1 << 20;
// Half of it without a sign of the peer, and Beast pings; all of it, and the connection ends.
constexpr auto kIdle = std::chrono::seconds{60};
constexpr auto kHandshake = std::chrono::seconds{10};
constexpr auto kClose = std::chrono::seconds{5};
constexpr std::size_t kReasonMax = 123;  // RFC 6455, 5.5: a control frame holds 125 bytes, two of them the code

class BeastWebSocket final : public WebSocket {
public:
    explicit BeastWebSocket(Connection& connection)
        : connection_{connection}, stream_{connection.transport()}, deadline_{connection.transport().get_executor()} {
        websocket::stream_base::timeout limits{};
        limits.handshake_timeout = kHandshake;
        limits.idle_timeout = kIdle;
        limits.keep_alive_pings = true;
        stream_.set_option(limits);
        stream_.read_message_max(kMessageMax);
        stream_.auto_fragment(false);
    }

    asio::awaitable<Result<void>> accept(std::string request_id) {
        http::request<http::string_body> request;
        request.base() = connection_.parser().release().base();
        stream_.set_option(websocket::stream_base::decorator([id = std::move(request_id)](websocket::response_type& response) {
            response.set("X-Request-Id", id);
            response.set(http::field::server, "sandboxd");
        }));
        auto [error] = co_await stream_.async_accept(request, kTuple);
        if (error) co_return Error{Errc::canceled, "WebSocket handshake", error.message()};
        co_return Result<void>{};
    }

    asio::awaitable<Result<Message>> read(Deadline deadline) override {
        Message message;
        auto into = asio::dynamic_buffer(message.data);
        arm(deadline);
        auto [error, size] = co_await stream_.async_read(into, kTuple);
        deadline_.cancel();
        if (*timed_out_) co_return Error{Errc::timeout, "WebSocket", "no message came"};
        if (error == websocket::error::message_too_big || error == websocket::error::buffer_overflow) {
            co_return Error{Errc::payload_too_large, "WebSocket message", "more than " + std::to_string(kMessageMax) + " bytes"};
        }
        if (error) co_return Error{Errc::canceled, "WebSocket", error.message()};
        message.binary = stream_.got_binary();
        co_return std::move(message);
    }

    asio::awaitable<Result<void>> send_text(std::string text) override {
        stream_.text(true);
        const auto buffer = asio::buffer(text);
        connection_.arm(connection_.limits().progress);
        auto [error, size] = co_await stream_.async_write(buffer, kTuple);
        connection_.disarm();
        co_return sent(error);
    }

    asio::awaitable<Result<void>> send_binary(std::span<const std::byte> head, std::span<const std::byte> data) override {
        stream_.binary(true);
        const std::array<asio::const_buffer, 2> frame{asio::buffer(head.data(), head.size()), asio::buffer(data.data(), data.size())};
        connection_.arm(connection_.limits().progress);
        auto [error, size] = co_await stream_.async_write(frame, kTuple);
        connection_.disarm();
        co_return sent(error);
    }

    asio::awaitable<void> close(std::uint16_t code, std::string reason) override {
        std::string text;
        utf8::append_valid(text, reason);
        if (text.size() > kReasonMax) text.resize(utf8::complete_prefix(std::string_view{text}.substr(0, kReasonMax)));
        const websocket::close_reason why{static_cast<websocket::close_code>(code), text};
        connection_.arm(kClose);
        // Ends a read() that waits: Beast hands it the closing handshake.
        (void)co_await stream_.async_close(why, kTuple);
        connection_.disarm();
        connection_.close();
    }

private:
    // The read is ended by closing the socket: Beast's own can't be taken back in the middle of a frame.
    void arm(Deadline deadline) {
        if (deadline.is_never()) return;
        deadline_.expires_at(deadline.time());
        *timed_out_ = false;
        // Owns what it touches: an expiry that is on its way can't be called back when this object goes.
        deadline_.async_wait([late = timed_out_, weak = connection_.weak_from_this()](const boost::system::error_code& error) {
            const auto connection = weak.lock();
            if (error || !connection) return;
            *late = true;
            connection->close();
        });
    }

    Result<void> sent(const boost::system::error_code& error) const {
        if (connection_.timed_out()) return Error{Errc::timeout, "WebSocket", "the client does not read"};
        if (error) return Error{Errc::canceled, "WebSocket", error.message()};
        return {};
    }

    Connection& connection_;
    websocket::stream<Transport&> stream_;
    asio::steady_timer deadline_;
    std::shared_ptr<bool> timed_out_ = std::make_shared<bool>(false);  // the read's deadline has passed
};

}  // namespace

asio::awaitable<Result<std::unique_ptr<WebSocket>>> accept_web_socket(Connection& connection, std::string request_id) {
    const auto& request = connection.parser().get();
    if (!websocket::is_upgrade(request)) {
        co_return Error{Errc::invalid_argument, "WebSocket", "this path is a WebSocket: ask with Upgrade: websocket and Sec-WebSocket-Version: 13"};
    }
    if (connection.buffer().size() != 0) {
        co_return Error{Errc::invalid_argument, "WebSocket", "frames may follow the answer, not come before it"};
    }
    auto socket = std::make_unique<BeastWebSocket>(connection);
    SBX_CO_CHECK(co_await socket->accept(std::move(request_id)));
    std::unique_ptr<WebSocket> out = std::move(socket);
    co_return std::move(out);
}

}  // namespace sandboxd::api
