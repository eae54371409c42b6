#pragma once

// Private header: of the translation units that hold the HTTP server; it is made of Asio and Beast.

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "api/server.hpp"
#include "api/transport.hpp"

namespace sandboxd::api {

namespace beast = boost::beast;
namespace http = boost::beast::http;

inline constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);

using Gathered = std::array<asio::const_buffer, 3>;  // unused ones are empty
using RequestParser = http::request_parser<http::buffer_body>;

// One accepted connection below HTTP's meaning: bytes in and out with time limits. One request at a time; reading and
// writing may overlap. Shared, because its timer may outlive the session's coroutine by a turn of the loop.
class Connection : public std::enable_shared_from_this<Connection> {
public:
    Connection(Transport::Socket socket, asio::ssl::context* tls, const ServerConfig& limits);

    [[nodiscard]] asio::awaitable<Result<void>> handshake();  // of TLS, if it is spoken here
    // The bytes of a next request are there. canceled when the peer has closed or stayed silent for too long.
    [[nodiscard]] asio::awaitable<Result<void>> wait_for_request();
    // Its header. canceled when the peer is gone, timeout, or what is wrong with it: invalid_argument, payload_too_large.
    [[nodiscard]] asio::awaitable<Result<void>> read_header();
    [[nodiscard]] RequestParser& parser() { return *parser_; }
    // 0 at the end of the body.
    [[nodiscard]] asio::awaitable<Result<std::size_t>> read_body(std::span<std::byte> buffer);
    [[nodiscard]] asio::awaitable<Result<void>> write(Gathered buffers);
    [[nodiscard]] asio::awaitable<void> client_gone();

    // After an answer that the rest of the request can't change: says "end of answer", takes in what the peer still
    // sends for a while (closing at once would make its kernel throw our answer away), and closes.
    enum class Unsent { little, upload };
    [[nodiscard]] asio::awaitable<void> linger(Unsent unsent);
    void close();

    [[nodiscard]] Transport& transport() noexcept { return transport_; }
    [[nodiscard]] beast::flat_buffer& buffer() noexcept { return buffer_; }
    [[nodiscard]] const ServerConfig& limits() const noexcept { return limits_; }
    [[nodiscard]] std::uint64_t bytes_out() const noexcept { return bytes_out_; }

    // Closes the socket when it is not disarmed in time; what waits for it then ends with an error.
    void arm(std::chrono::steady_clock::duration patience);
    void disarm();
    [[nodiscard]] bool idle() const noexcept { return idle_; }  // between two requests
    [[nodiscard]] bool timed_out() const noexcept { return timed_out_; }

private:
    [[nodiscard]] Error failure(const boost::system::error_code& error, const char* operation) const;

    Transport transport_;
    const ServerConfig& limits_;
    beast::flat_buffer buffer_;
    std::optional<RequestParser> parser_;
    asio::steady_timer watchdog_;
    bool timed_out_ = false;
    bool idle_ = false;
    std::uint64_t bytes_out_ = 0;
};

}  // namespace sandboxd::api
