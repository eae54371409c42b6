#pragma once

// Private header: of the translation units that hold the HTTP server; it is made of Asio and Beast.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/role.hpp>
#include <boost/beast/websocket/teardown.hpp>
#include <optional>
#include <utility>

namespace sandboxd::api {

namespace asio = boost::asio;

// A TCP or Unix socket, with TLS or without: one type, so that HTTP and WebSocket are compiled once.
class Transport {
public:
    using Socket = asio::generic::stream_protocol::socket;
    using executor_type = Socket::executor_type;
    using lowest_layer_type = Socket::lowest_layer_type;

    explicit Transport(Socket socket) : plain_{std::move(socket)} {}
    Transport(Socket socket, asio::ssl::context& tls) : tls_{std::in_place, std::move(socket), tls} {}

    [[nodiscard]] bool is_tls() const noexcept { return tls_.has_value(); }
    [[nodiscard]] asio::ssl::stream<Socket>& tls() { return *tls_; }
    [[nodiscard]] Socket& socket() { return tls_ ? tls_->next_layer() : *plain_; }
    [[nodiscard]] lowest_layer_type& lowest_layer() { return socket().lowest_layer(); }
    [[nodiscard]] executor_type get_executor() { return socket().get_executor(); }

    template <class Buffers, class Token>
    auto async_read_some(const Buffers& buffers, Token&& token) {
        if (tls_) return tls_->async_read_some(buffers, std::forward<Token>(token));
        return plain_->async_read_some(buffers, std::forward<Token>(token));
    }
    template <class Buffers, class Token>
    auto async_write_some(const Buffers& buffers, Token&& token) {
        if (tls_) return tls_->async_write_some(buffers, std::forward<Token>(token));
        return plain_->async_write_some(buffers, std::forward<Token>(token));
    }

private:
    std::optional<Socket> plain_;
    std::optional<asio::ssl::stream<Socket>> tls_;
};

// How Beast ends a connection that timed out, and a WebSocket below its own closing handshake; found through the
// argument.
inline void beast_close_socket(Transport& transport) {
    boost::system::error_code ignored;
    transport.socket().close(ignored);
}
inline void teardown(boost::beast::role_type role, Transport& transport, boost::system::error_code& error) {
    boost::beast::websocket::teardown(role, transport.socket(), error);
}
template <class Handler>
void async_teardown(boost::beast::role_type role, Transport& transport, Handler&& handler) {
    boost::beast::websocket::async_teardown(role, transport.socket(), std::forward<Handler>(handler));
}

}  // namespace sandboxd::api
