// Private header: the streams under HTTP and WebSocket, for the two files that know Beast.
#pragma once

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/system/error_code.hpp>
#include <memory>
#include <optional>

#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/ctl/target.hpp"

namespace sandboxd::ctl {

namespace asio = boost::asio;
using boost::system::error_code;

// TCP and Unix sockets are one type, so that what is built on them is compiled once for both.
using PlainStream = asio::generic::stream_protocol::socket;
using TlsStream = asio::ssl::stream<PlainStream>;

// Runs the context until the operation that `initiate` starts has completed; at the deadline the
// socket is closed, which ends the operation. Other work on the context goes on meanwhile.
template <class Initiate>
error_code complete(asio::io_context& context, PlainStream& socket, Deadline deadline,
                    Initiate initiate) {
    std::optional<error_code> outcome;
    initiate([&outcome](error_code ec, auto&&...) { outcome = ec; });
    bool late = false;
    while (!outcome) {
        if (context.stopped()) context.restart();
        if (late || deadline.is_never()) {
            context.run_one();
        } else if (context.run_one_until(deadline.time()) == 0 && deadline.passed()) {
            error_code ignored;  // it is given up anyway
            socket.close(ignored);
            late = true;
        }
    }
    return late ? error_code{asio::error::timed_out} : *outcome;
}

// A connected socket. unavailable, with the cure, when nobody answers there.
[[nodiscard]] Result<PlainStream> connect(asio::io_context& context, const Address& address,
                                          Deadline deadline);
// Checks certificates against the system's authorities or the target's file.
[[nodiscard]] Result<std::unique_ptr<asio::ssl::context>> make_tls(const Target& target);
[[nodiscard]] Result<std::unique_ptr<TlsStream>> handshake(asio::io_context& context,
                                                           asio::ssl::context& tls,
                                                           PlainStream socket,
                                                           const Address& address,
                                                           Deadline deadline);

[[nodiscard]] Error connection_error(const Address& address, const error_code& code);

}  // namespace sandboxd::ctl
