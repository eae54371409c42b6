#include "api/server.hpp"

#include <sys/socket.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <map>

#include "api/connection.hpp"
#include "api/errors.hpp"
#include "api/hub.hpp"
#include "api/session.hpp"
#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::api {

namespace {

constexpr auto kAcceptAgain = std::chrono::milliseconds{50};
constexpr auto kBackgroundPatience = std::chrono::seconds{10};

Result<std::unique_ptr<asio::ssl::context>> make_tls(const TlsFiles& files) {
    auto tls = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
    tls->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_sslv2 | asio::ssl::context::no_sslv3 |
                     asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1 | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION);
    boost::system::error_code error;
    tls->use_certificate_chain(asio::buffer(files.certificate), error);
    if (error) return Error{Errc::invalid_argument, "tls_certificate", error.message()};
    tls->use_private_key(asio::buffer(files.key), asio::ssl::context::pem, error);
    if (error) return Error{Errc::invalid_argument, "tls_key", error.message()};
    if (::SSL_CTX_check_private_key(tls->native_handle()) != 1) {
        return Error{Errc::invalid_argument, "tls_key", "it is not the certificate's key"};
    }
    return tls;
}

Result<int> family_of(int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) < 0) return errno_error("getsockname");
    return static_cast<int>(address.ss_family);
}

bool is_root_peer(int fd) {
    ucred peer{};
    socklen_t size = sizeof peer;
    return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == 0;
}

class ServerImpl final : public Server {
public:
    ServerImpl(asio::any_io_executor executor, ServerConfig config, std::span<const Route> routes, engine::Engine& engine, Metrics& metrics)
        : executor_{executor}, hub_{executor, std::move(config), routes, engine, metrics}, tcp_{executor}, unix_{executor}, acceptors_{executor} {}

    Result<void> open(Listening listening, const std::optional<TlsFiles>& tls) {
        if (tls) {
            SBX_TRY(tls_, make_tls(*tls));
        }
        if (listening.tcp.valid()) {
            SBX_TRY(const int family, family_of(listening.tcp.get()));
            const auto protocol = family == AF_INET6 ? asio::ip::tcp::v6() : asio::ip::tcp::v4();
            SBX_CHECK(take(tcp_, protocol, std::move(listening.tcp)));
        }
        if (listening.unix_socket.valid()) SBX_CHECK(take(unix_, asio::local::stream_protocol{}, std::move(listening.unix_socket)));
        return {};
    }

    void start() override {
        if (tcp_.is_open()) acceptors_.spawn("accept", accept_loop(tcp_, true));
        if (unix_.is_open()) acceptors_.spawn("accept", accept_loop(unix_, false));
    }

    asio::awaitable<void> settled(Deadline deadline) override {
        while (hub_.unrepeatable != 0) {
            const auto woken = co_await hub_.settled.wait(deadline);
            if (!woken) co_return;
        }
    }

    asio::awaitable<void> stop(Deadline deadline) override {
        hub_.stopping = true;
        acceptors_.cancel();
        (void)co_await acceptors_.join(Deadline::never());
        // An idle connection has no answer to lose.
        for (const auto& [key, weak] : open_) {
            if (const auto connection = weak.lock(); connection && connection->idle()) connection->close();
        }
        auto ended = co_await hub_.connections.join(deadline);
        if (!ended) {
            log::warn("requests are cut off", {{"connections", hub_.connections.size()}});
            hub_.connections.cancel();
            (void)co_await hub_.connections.join(Deadline::never());
        }
        auto tidied = co_await hub_.background.join(Deadline::after(kBackgroundPatience));
        if (!tidied) hub_.background.cancel();
        (void)co_await hub_.background.join(Deadline::never());
    }

private:
    template <class Acceptor>
    Result<void> take(Acceptor& acceptor, const typename Acceptor::protocol_type& protocol, Fd fd) {
        boost::system::error_code error;
        acceptor.assign(protocol, fd.get(), error);
        if (error) return Error{error, "listen"};
        (void)std::move(fd).release();
        return {};
    }

    template <class Acceptor>
    asio::awaitable<void> accept_loop(Acceptor& acceptor, bool is_tcp) {
        while (true) {
            Transport::Socket socket{executor_};
            auto [error] = co_await acceptor.async_accept(socket, kTuple);
            if (error == asio::error::operation_aborted) co_return;
            if (error) {
                // Out of descriptors, mostly: connections end, so it gets better.
                log::warn("accept", {{"error", error.message()}});
                const auto waited = co_await sleep_until(Deadline::after(kAcceptAgain));
                if (!waited) co_return;
                continue;
            }
            welcome(std::move(socket), is_tcp);
        }
    }

    void welcome(Transport::Socket socket, bool is_tcp) {
        boost::system::error_code ignored;
        socket.non_blocking(true, ignored);
        if (hub_.connections.size() >= hub_.config.connections_max) {
            hub_.metrics.connection_refused();
            refuse(socket, is_tcp);
            return;
        }
        if (is_tcp) socket.set_option(asio::ip::tcp::no_delay{true}, ignored);
        const bool root = !is_tcp && is_root_peer(socket.native_handle());
        auto connection = std::make_shared<Connection>(std::move(socket), is_tcp ? tls_.get() : nullptr, hub_.config);
        hub_.connections.spawn("connection", serve(std::move(connection), root));
    }

    // Best effort, and only where it can be read: nothing is kept for a connection too many.
    void refuse(Transport::Socket& socket, bool is_tcp) {
        if (is_tcp && tls_) return;
        static const std::string kFull = [] {
            const Response response = error_response(Error{Errc::unavailable, "connection", "too many are open (connections_max)"});
            return "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: " +
                   std::to_string(response.body.size()) + "\r\n\r\n" + response.body;
        }();
        boost::system::error_code ignored;
        socket.write_some(asio::buffer(kFull), ignored);
        socket.shutdown(Transport::Socket::shutdown_send, ignored);
    }

    asio::awaitable<void> serve(std::shared_ptr<Connection> connection, bool root) {
        const auto* key = connection.get();
        open_.emplace(key, connection);
        struct Forget {
            ~Forget() { open.erase(key); }
            std::map<const Connection*, std::weak_ptr<Connection>>& open;
            const Connection* key;
        };
        const Forget forget{open_, key};
        co_await serve_connection(hub_, std::move(connection), root);
    }

    asio::any_io_executor executor_;
    std::unique_ptr<asio::ssl::context> tls_;
    std::map<const Connection*, std::weak_ptr<Connection>> open_;
    Hub hub_;
    asio::ip::tcp::acceptor tcp_;
    asio::local::stream_protocol::acceptor unix_;
    TaskGroup acceptors_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::make(asio::any_io_executor executor, ServerConfig config, std::span<const Route> routes,
                                             engine::Engine& engine, Metrics& metrics, Listening listening, std::optional<TlsFiles> tls) {
    auto server = std::make_unique<ServerImpl>(std::move(executor), std::move(config), routes, engine, metrics);
    SBX_CHECK(server->open(std::move(listening), tls));
    std::unique_ptr<Server> out = std::move(server);
    return out;
}

}  // namespace sandboxd::api
