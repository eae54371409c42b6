#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "api/metrics.hpp"
#include "api/route.hpp"
#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/engine.hpp"

namespace sandboxd::api {

struct ServerConfig {
    NodeIdentity node;
    TenantId root_tenant;                              // of a peer with uid 0 on the Unix socket, who needs no key
    std::uint64_t request_bytes_max = 32ULL << 20;     // bodies that are read as a whole
    std::uint64_t bodies_bytes_max = 512ULL << 20;     // of all bodies that are held at one time
    std::uint32_t connections_max = 4096;              // over all listeners; more are told 503 and closed
    std::chrono::milliseconds idle = std::chrono::seconds{75};      // between two requests of a connection
    std::chrono::milliseconds header = std::chrono::seconds{10};    // from a request's first byte to the end of its header
    std::chrono::milliseconds progress = std::chrono::seconds{60};  // for 256 KiB, in either direction
};

struct TlsFiles {  // PEM texts
    std::string certificate;  // with its chain
    std::string key;
};

// What the server listens on: bound and listening already, each may be absent.
struct Listening {
    Fd tcp;  // TLS when there are TlsFiles
    Fd unix_socket;
};

// HTTP/1.1 and WebSocket on an executor of one thread. Routes, engine and metrics must outlive it.
class Server {
public:
    // invalid_argument for a certificate or key that OpenSSL does not take.
    [[nodiscard]] static Result<std::unique_ptr<Server>> make(asio::any_io_executor executor, ServerConfig config,
                                                             std::span<const Route> routes, engine::Engine& engine,
                                                             Metrics& metrics, Listening listening,
                                                             std::optional<TlsFiles> tls);
    virtual ~Server() = default;

    virtual void start() = 0;
    // Completes when no request is being served whose answer would be lost for good, or at the deadline. A GET can be
    // sent again, and the output that it or a WebSocket follows is there to be taken up at its offset.
    [[nodiscard]] virtual asio::awaitable<void> settled(Deadline deadline) = 0;
    // Takes no more connections, ends idle ones, lets requests end until the deadline, then cancels them. Completes
    // when neither a connection nor a background task is left.
    [[nodiscard]] virtual asio::awaitable<void> stop(Deadline deadline) = 0;
};

// Every route of the API, in the order of the OpenAPI document. Lives as long as the process.
[[nodiscard]] std::span<const Route> all_routes();

}  // namespace sandboxd::api
