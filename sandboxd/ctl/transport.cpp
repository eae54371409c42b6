#include <openssl/err.h>
#include <openssl/ssl.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <vector>

#include "sandboxd/ctl/transport_impl.hpp"

namespace sandboxd::ctl {

namespace {

using Endpoint = asio::generic::stream_protocol::endpoint;

Result<std::vector<Endpoint>> resolve(asio::io_context& context, const Address& address,
                                      Deadline deadline) {
    if (address.scheme == Scheme::unix_socket) {
        return std::vector<Endpoint>{asio::local::stream_protocol::endpoint{address.socket_path}};
    }
    error_code ec;
    const auto number = asio::ip::make_address(address.host, ec);
    if (!ec) return std::vector<Endpoint>{asio::ip::tcp::endpoint{number, address.port}};
    asio::ip::tcp::resolver resolver{context};
    std::vector<Endpoint> found;
    PlainStream unused{context};
    ec = complete(context, unused, deadline, [&](auto done) {
        resolver.async_resolve(
            address.host, std::to_string(address.port),
            [&found, done](error_code outcome,
                           const asio::ip::tcp::resolver::results_type& results) mutable {
                for (const auto& result : results) found.emplace_back(result.endpoint());
                done(outcome);
            });
    });
    if (ec)
        return Error{Errc::unavailable, "the name " + address.host + " could not be resolved",
                     ec.message()};
    return found;
}

void tune(PlainStream& socket, const Address& address) {
    if (address.scheme == Scheme::unix_socket) return;
    // Both are improvements only: a socket that refuses them works.
    error_code ignored;
    socket.set_option(asio::ip::tcp::no_delay{true}, ignored);
    socket.set_option(asio::socket_base::keep_alive{true}, ignored);
}

}  // namespace

Error connection_error(const Address& address, const error_code& code) {
    const std::string at = to_string(address);
    const bool nobody = code == asio::error::connection_refused ||
                        code == boost::system::errc::no_such_file_or_directory;
    if (nobody) {
        return Error{Errc::unavailable, "no daemon answers at " + at,
                     "start one with `sandboxd --dev`, or set SANDBOXD_URL"};
    }
    if (code == asio::error::timed_out) {
        return Error{Errc::unavailable, at + " does not answer in time",
                     "the daemon is starting, or overloaded: see its log"};
    }
    if (code == boost::system::errc::permission_denied) {
        return Error{Errc::forbidden, at,
                     "permission denied: be root, or a member of the socket's group"};
    }
    return Error{Errc::unavailable, "the connection to " + at, code.message()};
}

Result<PlainStream> connect(asio::io_context& context, const Address& address, Deadline deadline) {
    SBX_TRY(const std::vector<Endpoint> endpoints, resolve(context, address, deadline));
    error_code ec = asio::error::host_not_found;
    for (const Endpoint& endpoint : endpoints) {
        PlainStream socket{context};
        ec = complete(context, socket, deadline,
                      [&](auto done) { socket.async_connect(endpoint, done); });
        if (ec) continue;
        tune(socket, address);
        return socket;
    }
    return connection_error(address, ec);
}

Result<std::unique_ptr<asio::ssl::context>> make_tls(const Target& target) {
    auto tls = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_client);
    SSL_CTX_set_min_proto_version(tls->native_handle(), TLS1_2_VERSION);
    error_code ec;
    if (target.ca_file.empty()) {
        tls->set_default_verify_paths(ec);
    } else {
        tls->load_verify_file(target.ca_file, ec);
    }
    if (ec)
        return Error{
            Errc::invalid_argument, "certificate authorities",
            (target.ca_file.empty() ? "of the system" : target.ca_file) + ": " + ec.message()};
    tls->set_verify_mode(asio::ssl::verify_peer, ec);
    if (ec) return Error{Errc::internal, "TLS", ec.message()};
    return tls;
}

Result<std::unique_ptr<TlsStream>> handshake(asio::io_context& context, asio::ssl::context& tls,
                                             PlainStream socket, const Address& address,
                                             Deadline deadline) {
    auto stream = std::make_unique<TlsStream>(std::move(socket), tls);
    error_code ec;
    stream->set_verify_callback(asio::ssl::host_name_verification{address.host}, ec);
    if (ec) return Error{Errc::internal, "TLS", ec.message()};
    // SNI holds names only (RFC 6066).
    (void)asio::ip::make_address(address.host, ec);
    if (ec) SSL_set_tlsext_host_name(stream->native_handle(), address.host.c_str());
    ec = complete(context, stream->next_layer(), deadline, [&](auto done) {
        stream->async_handshake(asio::ssl::stream_base::client, done);
    });
    if (!ec) return stream;
    const long verdict = SSL_get_verify_result(stream->native_handle());
    if (verdict != X509_V_OK) {
        return Error{Errc::forbidden, "the certificate of " + to_string(address),
                     std::string{X509_verify_cert_error_string(verdict)} +
                         ": give its authority with --ca-file or SANDBOXD_CA_FILE"};
    }
    return connection_error(address, ec);
}

}  // namespace sandboxd::ctl
