#include "api/connection.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>

#include "sandboxd/core/async.hpp"

namespace sandboxd::api {

namespace {

constexpr std::size_t kHeaderMax = 16 * 1024;
constexpr std::size_t kBufferMax = 128 * 1024;  // a header, or what Beast reads ahead of a body
constexpr auto kHandshake = std::chrono::seconds{10};
constexpr auto kLinger = std::chrono::seconds{2};
constexpr std::size_t kLingerBytes = 1 << 20;
// Behind an upload that a handler had begun to take, and so of somebody who may upload: a client that reads only once it
// has sent everything has to get through.
constexpr auto kLingerUpload = std::chrono::seconds{5};
constexpr std::size_t kLingerUploadBytes = 256 << 20;
constexpr auto kLook = std::chrono::seconds{1};

bool has_hung_up(int fd) {
    pollfd entry{fd, POLLRDHUP, 0};
    return ::poll(&entry, 1, 0) > 0;  // POLLHUP and POLLERR come unasked
}

bool has_unread(int fd) {
    pollfd entry{fd, POLLIN, 0};
    return ::poll(&entry, 1, 0) > 0;
}

bool is_bad_header(const boost::system::error_code& error) { return error.category() == make_error_code(http::error::bad_method).category(); }

}  // namespace

Connection::Connection(Transport::Socket socket, asio::ssl::context* tls, const ServerConfig& limits)
    : transport_{tls ? Transport{std::move(socket), *tls} : Transport{std::move(socket)}},
      limits_{limits},
      buffer_{kBufferMax},
      watchdog_{transport_.get_executor()} {}

void Connection::arm(std::chrono::steady_clock::duration patience) {
    watchdog_.expires_after(patience);
    watchdog_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
        const auto self = weak.lock();
        // An expiry that was on its way when the timer was set anew is no expiry.
        if (!self || error || self->watchdog_.expiry() > std::chrono::steady_clock::now()) return;
        self->timed_out_ = true;
        self->close();
    });
}

void Connection::disarm() { watchdog_.expires_at(std::chrono::steady_clock::time_point::max()); }

void Connection::close() {
    boost::system::error_code ignored;
    transport_.socket().close(ignored);
}

Error Connection::failure(const boost::system::error_code& error, const char* operation) const {
    if (timed_out_) return Error{Errc::timeout, operation, "the peer made no progress"};
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
        return Error{Errc::payload_too_large, "request header", "more than " + std::to_string(kHeaderMax) + " bytes"};
    }
    // Whatever else the parser says is about what the peer wrote; the socket's own errors mean that it is gone.
    const bool cut = error == http::error::end_of_stream || error == http::error::partial_message;
    if (is_bad_header(error) && !cut) return Error{Errc::invalid_argument, "HTTP", error.message()};
    return Error{Errc::canceled, operation, error.message()};
}

asio::awaitable<Result<void>> Connection::handshake() {
    if (!transport_.is_tls()) co_return Result<void>{};
    arm(kHandshake);
    auto [error] = co_await transport_.tls().async_handshake(asio::ssl::stream_base::server, kTuple);
    disarm();
    if (error) co_return failure(error, "TLS handshake");
    co_return Result<void>{};
}

asio::awaitable<Result<void>> Connection::wait_for_request() {
    if (buffer_.size() != 0) co_return Result<void>{};  // it was pipelined
    arm(limits_.idle);
    idle_ = true;
    const auto space = buffer_.prepare(4096);
    auto [error, size] = co_await transport_.async_read_some(space, kTuple);
    idle_ = false;
    disarm();
    if (error) co_return failure(error, "wait for a request");
    buffer_.commit(size);
    co_return Result<void>{};
}

asio::awaitable<Result<void>> Connection::read_header() {
    parser_.emplace();
    parser_->header_limit(kHeaderMax);
    parser_->body_limit(boost::none);  // bounded where it is read as a whole; uploads of files have any size
    arm(limits_.header);
    auto [error, size] = co_await http::async_read_header(transport_, buffer_, *parser_, kTuple);
    disarm();
    if (error) co_return failure(error, "read header");
    co_return Result<void>{};
}

asio::awaitable<Result<std::size_t>> Connection::read_body(std::span<std::byte> into) {
    auto& body = parser_->get().body();
    while (!parser_->is_done()) {
        body.data = into.data();
        body.size = into.size();
        body.more = true;
        arm(limits_.progress);
        auto [error, size] = co_await http::async_read_some(transport_, buffer_, *parser_, kTuple);
        disarm();
        if (error && error != http::error::need_buffer) co_return failure(error, "read body");
        const std::size_t got = into.size() - body.size;
        if (got > 0) co_return got;
    }
    co_return std::size_t{0};
}

asio::awaitable<Result<void>> Connection::write(Gathered buffers) {
    arm(limits_.progress);
    auto [error, size] = co_await asio::async_write(transport_, buffers, kTuple);
    disarm();
    bytes_out_ += size;
    if (error) co_return failure(error, "write");
    co_return Result<void>{};
}

asio::awaitable<void> Connection::client_gone() {
    Transport::Socket& socket = transport_.socket();
    while (socket.is_open() && !has_hung_up(socket.native_handle())) {
        if (has_unread(socket.native_handle())) {
            // A pipelined request, or TLS's farewell: nothing wakes us for the hang-up behind it.
            const auto looked = co_await sleep_until(Deadline::after(kLook));
            if (!looked) co_return;
            continue;
        }
        auto [error] = co_await socket.async_wait(Transport::Socket::wait_read, kTuple);
        if (error) co_return;
    }
}

asio::awaitable<void> Connection::linger(Unsent unsent) {
    boost::system::error_code ignored;
    transport_.socket().shutdown(Transport::Socket::shutdown_send, ignored);
    const bool upload = unsent == Unsent::upload;
    arm(upload ? kLingerUpload : kLinger);
    const std::size_t most = upload ? kLingerUploadBytes : kLingerBytes;
    std::array<std::byte, 16 * 1024> rest;
    std::size_t taken = 0;
    while (taken < most) {
        // Below TLS: what comes is not looked at.
        const auto space = asio::buffer(rest);
        auto [error, size] = co_await transport_.socket().async_read_some(space, kTuple);
        if (error) break;
        taken += size;
    }
    disarm();
    close();
}

}  // namespace sandboxd::api
