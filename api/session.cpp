#include "api/session.hpp"

#include <chrono>
#include <exception>
#include <optional>
#include <string>

#include "api/access.hpp"
#include "api/errors.hpp"
#include "api/http_exchange.hpp"
#include "api/idempotency.hpp"
#include "sandboxd/core/log.hpp"

namespace sandboxd::api {

namespace {

constexpr std::size_t kFieldsMax = 64;
constexpr auto kClaimPatience = std::chrono::seconds{60};

class Session {
public:
    Session(Hub& hub, std::shared_ptr<Connection> connection, bool root_peer)
        : hub_{hub}, connection_{std::move(connection)}, root_peer_{root_peer} {}

    asio::awaitable<void> run();

private:
    // One request from its first byte to the end of its answer; whether another may follow.
    [[nodiscard]] asio::awaitable<bool> serve_one();
    [[nodiscard]] asio::awaitable<bool> refuse_header(Error error);
    [[nodiscard]] asio::awaitable<Result<void>> dispatch(HttpExchange& exchange, const Route& route);
    [[nodiscard]] asio::awaitable<bool> answer(HttpExchange& exchange, const Route* route, Result<void> routed);
    [[nodiscard]] Result<void> prepare(HttpExchange::Request& request);
    [[nodiscard]] Result<void> check_header() const;
    [[nodiscard]] Credentials credentials() const;
    [[nodiscard]] std::optional<std::string_view> field(std::string_view name) const;
    void record(const HttpExchange& exchange, const Route* route);

    Hub& hub_;
    std::shared_ptr<Connection> connection_;
    bool root_peer_;
    std::chrono::steady_clock::time_point began_;
    std::uint64_t bytes_before_ = 0;
};

std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }

bool streams_answer(std::string_view accept) {
    return accept.find("application/x-ndjson") != accept.npos || accept.find("text/event-stream") != accept.npos;
}

std::optional<std::string_view> Session::field(std::string_view name) const {
    const auto& header = connection_->parser().get();
    const auto found = header.find(beast::string_view{name.data(), name.size()});
    if (found == header.end()) return std::nullopt;
    return view(found->value());
}

Credentials Session::credentials() const {
    Credentials out;
    out.authorization = field("Authorization");
    out.api_key = field("X-API-KEY");
    out.tenant = field("X-Sandboxd-Tenant");
    out.root_peer = root_peer_;
    return out;
}

// What a proxy in front could understand differently is refused, not guessed (RFC 9112, 6.3 and 3.2).
Result<void> Session::check_header() const {
    const auto& header = connection_->parser().get();
    const auto bad = [](std::string_view why) { return Error{Errc::invalid_argument, "request header", std::string{why}}; };
    std::size_t fields = 0;
    for (const auto& entry : header) {
        if (++fields > kFieldsMax) return Error{Errc::payload_too_large, "request header", "more than " + std::to_string(kFieldsMax) + " fields"};
        for (const char c : view(entry.value())) {
            if ((static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7f) return bad("a control character in a field");
        }
    }
    if (header.version() != 10 && header.version() != 11) return bad("HTTP/1.0 or HTTP/1.1 is spoken here");
    const bool coded = header.count(http::field::transfer_encoding) != 0;
    if (coded && (header.version() < 11 || header.count(http::field::content_length) != 0 || !beast::iequals(header[http::field::transfer_encoding], "chunked"))) {
        return bad("Transfer-Encoding must be chunked, alone, and without Content-Length");
    }
    if (header.count(http::field::host) > 1 || (header.version() == 11 && header.count(http::field::host) == 0)) return bad("Host must be there once");
    const auto expected = field("Expect");
    if (expected && !beast::iequals(beast::string_view{expected->data(), expected->size()}, "100-continue")) return bad("Expect may be 100-continue only");
    return {};
}

// Everything that can be said without the body: route, caller, query.
Result<void> Session::prepare(HttpExchange::Request& request) {
    SBX_CHECK(check_header());
    SBX_TRY(request.target, parse_target(view(connection_->parser().get().target())));
    request.match = hub_.router.find(request.method, request.target);
    if (request.match.route == nullptr && !request.match.allow.empty()) {
        return Error{Errc::method_not_allowed, request.method.substr(0, 32), "this path allows " + request.match.allow}.fact("allow", request.match.allow);
    }
    if (request.match.route == nullptr) return Error{Errc::not_found, "path", "no such route; GET /openapi.json lists them"};
    SBX_TRY(request.caller, identify(hub_.engine, request.match.route->auth, credentials(), hub_.config.root_tenant));
    return check_query(*request.match.route, request.target.query);
}

void Session::record(const HttpExchange& exchange, const Route* route) {
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began_;
    const std::string_view pattern = route ? route->pattern : std::string_view{};
    hub_.metrics.request(route ? exchange.method() : std::string_view{}, pattern, exchange.status(), took.count());
    log::info("request", {{"request_id", exchange.request_id()},
                          {"method", exchange.method().substr(0, 32)},
                          {"route", pattern},
                          {"status", exchange.status()},
                          {"bytes", connection_->bytes_out() - bytes_before_},
                          {"us", static_cast<std::int64_t>(took.count() * 1e6)},
                          {"tenant", exchange.caller().tenant.str()}});
}

asio::awaitable<Result<void>> Session::dispatch(HttpExchange& exchange, const Route& route) {
    const auto key = field("Idempotency-Key");
    if (key && route.secret) {
        co_return Error{Errc::invalid_argument, "Idempotency-Key", "can't be used here: the answer holds a secret, which is not kept"};
    }
    if (key && route.method == "POST" && !route.streams_body) {
        if (streams_answer(field("Accept").value_or(""))) {
            co_return Error{Errc::invalid_argument, "Idempotency-Key", "can't be used for an answer that is streamed: it would have to be kept whole"};
        }
        SBX_CO_TRY(const std::string body, co_await exchange.body());
        const std::string_view target = view(connection_->parser().get().target());
        SBX_CO_TRY(IdempotentRequest request, IdempotentRequest::make(hub_, exchange.caller().tenant, *key, route.method, target, body));
        SBX_CO_TRY(std::optional<Response> before, co_await request.claim(Deadline::after(kClaimPatience)));
        if (before) co_return co_await exchange.respond(*std::move(before));
        exchange.make_idempotent(std::move(request));
    }
    co_return co_await route.handler(exchange);
}

// Counts a request that a stop should wait for; on every way out, cancellation included.
class Unrepeatable {
public:
    Unrepeatable(Hub& hub, const Route& route) : hub_{hub}, counts_{route.method != "GET"} { hub_.unrepeatable += counts_; }
    Unrepeatable(const Unrepeatable&) = delete;
    Unrepeatable& operator=(const Unrepeatable&) = delete;
    ~Unrepeatable() {
        hub_.unrepeatable -= counts_;
        if (hub_.unrepeatable == 0) hub_.settled.notify();
    }

private:
    Hub& hub_;
    std::size_t counts_;
};

// Sees to it that a request has exactly one answer, whatever its handler did.
asio::awaitable<bool> Session::answer(HttpExchange& exchange, const Route* route, Result<void> routed) {
    std::optional<Unrepeatable> counted;
    if (routed && route != nullptr) {
        counted.emplace(hub_, *route);
        std::string thrown;
        try {
            routed = co_await dispatch(exchange, *route);
        } catch (const boost::system::system_error& error) {
            // Asio's way to end a cancelled coroutine: not ours to stop.
            if (error.code() == asio::error::operation_aborted) throw;
            thrown = error.what();
        } catch (const std::exception& error) {
            thrown = error.what();
        }
        if (!thrown.empty()) routed = Error{Errc::internal, "handler", thrown};
    }
    if (routed && !exchange.begun()) routed = Error{Errc::internal, "handler", "it gave no answer"};
    if (!routed && routed.error().errc() == Errc::internal) {
        log::error("a request failed", {{"request_id", exchange.request_id()}, {"error", routed.error()}});
    }
    if (!routed && !exchange.begun()) {
        Response response = error_response(routed.error());
        (void)co_await exchange.respond(std::move(response));  // whoever is not there any more needs no answer
    }
    co_return exchange.may_go_on();
}

asio::awaitable<bool> Session::refuse_header(Error error) {
    if (error.is(Errc::canceled)) co_return false;  // it has gone, or never came
    HttpExchange::Request request;
    request.id = sandboxd::api::request_id(std::nullopt, hub_.config.node);
    Response response = error_response(error);
    if (error.is(Errc::payload_too_large)) response.status = 431;
    if (error.is(Errc::timeout)) co_return false;  // its socket is closed
    HttpExchange exchange{hub_, *connection_, std::move(request)};
    (void)co_await exchange.respond(std::move(response));
    record(exchange, nullptr);
    co_await connection_->linger(Connection::Unsent::little);
    co_return false;
}

asio::awaitable<bool> Session::serve_one() {
    auto read = co_await connection_->read_header();
    began_ = std::chrono::steady_clock::now();
    bytes_before_ = connection_->bytes_out();
    if (!read) co_return co_await refuse_header(std::move(read).error());
    HttpExchange::Request request;
    request.method = view(connection_->parser().get().method_string());
    request.id = sandboxd::api::request_id(field("X-Request-Id"), hub_.config.node);
    Result<void> routed = prepare(request);
    if (!routed && routed.error().is(Errc::payload_too_large)) co_return co_await refuse_header(std::move(routed).error());
    const Route* const route = request.match.route;
    HttpExchange exchange{hub_, *connection_, std::move(request)};
    const bool goes_on = co_await answer(exchange, route, std::move(routed));
    record(exchange, route);
    const auto unsent = exchange.took_body() ? Connection::Unsent::upload : Connection::Unsent::little;
    if (!goes_on && exchange.finished()) co_await connection_->linger(unsent);
    co_return goes_on;
}

asio::awaitable<void> Session::run() {
    auto ready = co_await connection_->handshake();
    while (ready && !hub_.stopping) {
        ready = co_await connection_->wait_for_request();
        if (!ready) break;
        const bool goes_on = co_await serve_one();
        if (!goes_on) break;
    }
    connection_->close();
}

struct Counted {
    explicit Counted(Metrics& of) : metrics{of} { metrics.connection_opened(); }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() { metrics.connection_closed(); }
    Metrics& metrics;
};

}  // namespace

asio::awaitable<void> serve_connection(Hub& hub, std::shared_ptr<Connection> connection, bool root_peer) {
    const Counted counted{hub.metrics};
    Session session{hub, std::move(connection), root_peer};
    co_await session.run();
}

}  // namespace sandboxd::api
