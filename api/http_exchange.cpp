#include "api/http_exchange.hpp"

#include <algorithm>
#include <array>
#include <boost/beast/http/status.hpp>
#include <charconv>
#include <ctime>

#include "api/errors.hpp"
#include "api/web_socket.hpp"
#include "sandboxd/core/assert.hpp"
#include "sandboxd/core/log.hpp"

namespace sandboxd::api {

namespace {

constexpr std::size_t kPiece = 256 * 1024;  // what ServerConfig::progress is for

asio::const_buffer buffer_of(std::string_view text) { return asio::buffer(text.data(), text.size()); }

// RFC 9110 IMF-fixdate; made once a second.
const std::string& http_date() {
    static thread_local std::time_t made = 0;
    static thread_local std::string text;
    const std::time_t now = std::time(nullptr);
    if (now != made || text.empty()) {
        std::tm parts{};
        ::gmtime_r(&now, &parts);
        std::array<char, 40> out{};
        text.assign(out.data(), std::strftime(out.data(), out.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts));
        made = now;
    }
    return text;
}

// What a handler puts there may come from a client (a file's name): it must not end the field.
void append_field(std::string& out, std::string_view name, std::string_view value) {
    out.append(name).append(": ");
    for (const char c : value) out += static_cast<unsigned char>(c) < ' ' || c == 0x7f ? ' ' : c;
    out += "\r\n";
}

bool has_no_body(unsigned status) { return status < 200 || status == 204 || status == 304; }

}  // namespace

HttpExchange::HttpExchange(Hub& hub, Connection& connection, Request request)
    : hub_{hub}, connection_{connection}, request_{std::move(request)} {
    const auto& header = connection_.parser().get();
    keep_alive_ = header.keep_alive() && !hub_.stopping;
    continue_due_ = header.count(http::field::expect) != 0;
}

std::string_view HttpExchange::param(std::string_view name) const {
    for (const auto& [known, value] : request_.match.params) {
        if (known == name) return value;
    }
    assertion_failed("a parameter of the route's pattern", __FILE__, __LINE__);
}

std::optional<std::string> HttpExchange::query(std::string_view name) const {
    for (const auto& [known, value] : request_.target.query) {
        if (known == name) return value;
    }
    return std::nullopt;
}

std::vector<std::pair<std::string, std::string>> HttpExchange::queries(std::string_view prefix) const {
    std::vector<std::pair<std::string, std::string>> out;
    for (const auto& [name, value] : request_.target.query) {
        if (name.starts_with(prefix)) out.emplace_back(name.substr(prefix.size()), value);
    }
    return out;
}

std::optional<std::string_view> HttpExchange::header(std::string_view name) const {
    const auto& header = connection_.parser().get();
    const auto field = header.find(beast::string_view{name.data(), name.size()});
    if (field == header.end()) return std::nullopt;
    return std::string_view{field->value().data(), field->value().size()};
}

std::optional<std::uint64_t> HttpExchange::content_length() const {
    const auto length = connection_.parser().content_length();
    if (!length) return std::nullopt;
    return *length;
}

asio::awaitable<Result<void>> HttpExchange::say_continue() {
    if (!std::exchange(continue_due_, false)) co_return Result<void>{};
    const std::string_view text = "HTTP/1.1 100 Continue\r\n\r\n";
    const Gathered out{buffer_of(text), asio::const_buffer{}, asio::const_buffer{}};
    co_return co_await connection_.write(out);
}

// Grows with what has come, not with what was announced: a header alone holds nothing.
Result<void> HttpExchange::hold(std::size_t bytes) {
    if (hub_.bodies_bytes + bytes > hub_.config.bodies_bytes_max) {
        return Error{Errc::unavailable, "request body", "too many large requests at one time; try again"};
    }
    hub_.bodies_bytes += bytes;
    held_ += bytes;
    return {};
}

asio::awaitable<Result<std::string>> HttpExchange::body() {
    if (body_) co_return *body_;
    const std::uint64_t most = hub_.config.request_bytes_max;
    const auto too_large = [&] {
        return Error{Errc::payload_too_large, "request body", "more than " + std::to_string(most) + " bytes"}
            .fact("limit", "request_bytes_max").fact("allowed", static_cast<std::int64_t>(most));
    };
    const auto announced = content_length();
    if (announced && *announced > most) co_return too_large();
    SBX_CO_CHECK(co_await say_continue());
    std::string text;
    while (true) {
        const std::size_t before = text.size();
        text.resize(before + std::min<std::size_t>(kPiece, static_cast<std::size_t>(announced.value_or(before + 16384) - before + 1)));
        const std::span<std::byte> space = std::as_writable_bytes(std::span{text}).subspan(before);
        SBX_CO_TRY(const std::size_t got, co_await connection_.read_body(space));
        text.resize(before + got);
        if (got == 0) break;
        if (text.size() > most) co_return too_large();
        SBX_CO_CHECK(hold(got));
    }
    body_ = std::move(text);
    co_return *body_;
}

asio::awaitable<Result<std::size_t>> HttpExchange::read_body(std::span<std::byte> buffer) {
    took_body_ = true;
    SBX_CO_CHECK(co_await say_continue());
    co_return co_await connection_.read_body(buffer);
}

std::string HttpExchange::head_text(const Response& response, std::optional<std::uint64_t> length) {
    const bool http_1_0 = connection_.parser().get().version() < 11;
    // The rest of a body that nobody read stands where the next request would.
    if (!connection_.parser().is_done()) keep_alive_ = false;
    if (has_no_body(response.status) || request_.method == "HEAD") {
        framing_ = Framing::none;
    } else if (length) {
        framing_ = Framing::length;
        left_ = *length;
    } else {
        framing_ = http_1_0 ? Framing::until_close : Framing::chunked;
        if (http_1_0) keep_alive_ = false;
    }
    const auto reason = http::obsolete_reason(static_cast<http::status>(response.status));
    std::string head = "HTTP/1.1 " + std::to_string(response.status) + ' ' + std::string{reason.data(), reason.size()} + "\r\n";
    if (!has_no_body(response.status)) {
        append_field(head, "Content-Type", response.content_type);
        if (length) append_field(head, "Content-Length", std::to_string(*length));
        if (framing_ == Framing::chunked) append_field(head, "Transfer-Encoding", "chunked");
    }
    append_field(head, "Date", http_date());
    append_field(head, "X-Request-Id", request_.id);
    // Nothing that this server sends is to be run by a browser.
    append_field(head, "X-Content-Type-Options", "nosniff");
    for (const auto& [name, value] : response.headers) append_field(head, name, value);
    if (!keep_alive_) append_field(head, "Connection", "close");
    else if (http_1_0) append_field(head, "Connection", "keep-alive");
    status_ = response.status;
    return head + "\r\n";
}

asio::awaitable<Result<void>> HttpExchange::send_body(std::string_view body, std::string head) {
    const std::string_view first = body.substr(0, kPiece);
    const Gathered opening{buffer_of(head), buffer_of(first), asio::const_buffer{}};
    SBX_CO_CHECK(co_await connection_.write(opening));
    for (std::size_t at = first.size(); at < body.size(); at += kPiece) {
        const Gathered piece{buffer_of(body.substr(at, kPiece)), asio::const_buffer{}, asio::const_buffer{}};
        SBX_CO_CHECK(co_await connection_.write(piece));
    }
    co_return Result<void>{};
}

asio::awaitable<Result<void>> HttpExchange::respond(Response response) {
    if (begun()) co_return Error{Errc::internal, "respond", "the answer has begun already"};
    if (idempotent_) {
        auto kept = co_await idempotent_->keep(response);
        if (!kept) log::error("an idempotent answer was not kept", {{"request_id", request_.id}, {"error", kept.error()}});
        idempotent_.reset();
        if (kept && !*kept) response.headers.emplace_back("Idempotency-Stored", "false");
    }
    state_ = State::streaming;
    std::string head = head_text(response, response.body.size());
    const std::string_view body = framing_ == Framing::none ? std::string_view{} : std::string_view{response.body};
    SBX_CO_CHECK(co_await send_body(body, std::move(head)));
    state_ = State::finished;
    co_return Result<void>{};
}

asio::awaitable<Result<void>> HttpExchange::begin(Response head, std::optional<std::uint64_t> length) {
    if (begun()) co_return Error{Errc::internal, "begin", "the answer has begun already"};
    state_ = State::streaming;
    const std::string text = head_text(head, length);
    const Gathered opening{buffer_of(text), asio::const_buffer{}, asio::const_buffer{}};
    co_return co_await connection_.write(opening);
}

asio::awaitable<Result<void>> HttpExchange::write(std::span<const std::byte> data) {
    if (state_ != State::streaming) co_return Error{Errc::internal, "write", "no answer is being streamed"};
    if (data.empty() || framing_ == Framing::none) co_return Result<void>{};
    if (framing_ == Framing::length) {
        if (data.size() > left_) co_return Error{Errc::internal, "write", "more than the length that was announced"};
        left_ -= data.size();
    }
    while (!data.empty()) {
        const auto piece = data.subspan(0, std::min(kPiece, data.size()));
        data = data.subspan(piece.size());
        std::array<char, 24> size{};
        std::string_view before;
        std::string_view after;
        if (framing_ == Framing::chunked) {
            char* const end = std::to_chars(size.data(), size.data() + 20, piece.size(), 16).ptr;
            end[0] = '\r';
            end[1] = '\n';
            before = {size.data(), static_cast<std::size_t>(end + 2 - size.data())};
            after = "\r\n";
        }
        const Gathered out{buffer_of(before), asio::buffer(piece.data(), piece.size()), buffer_of(after)};
        SBX_CO_CHECK(co_await connection_.write(out));
    }
    co_return Result<void>{};
}

asio::awaitable<Result<void>> HttpExchange::finish() {
    if (state_ != State::streaming) co_return Error{Errc::internal, "finish", "no answer is being streamed"};
    if (framing_ == Framing::length && left_ != 0) co_return Error{Errc::internal, "finish", "less than the length that was announced"};
    if (framing_ == Framing::chunked) {
        const std::string_view last = "0\r\n\r\n";
        const Gathered out{buffer_of(last), asio::const_buffer{}, asio::const_buffer{}};
        SBX_CO_CHECK(co_await connection_.write(out));
    }
    state_ = State::finished;
    co_return Result<void>{};
}

asio::awaitable<Result<std::unique_ptr<WebSocket>>> HttpExchange::upgrade() {
    if (begun()) co_return Error{Errc::internal, "upgrade", "the answer has begun already"};
    SBX_CO_TRY(std::unique_ptr<WebSocket> socket, co_await accept_web_socket(connection_, request_.id));
    state_ = State::upgraded;
    status_ = 101;
    co_return std::move(socket);
}

asio::awaitable<void> HttpExchange::client_gone() { co_return co_await connection_.client_gone(); }

}  // namespace sandboxd::api
