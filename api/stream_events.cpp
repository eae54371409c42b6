#include "api/stream_events.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

namespace sandboxd::api {

namespace {

std::string_view text_of(std::span<const std::byte> bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string output_event(std::string_view type, std::uint64_t offset, std::string_view bytes, Encoding encoding) {
    std::string out;
    out.reserve(bytes.size() + bytes.size() / 2 + 64);
    out += R"({"type":")";
    out += type;
    out += R"(","offset":)";
    out += std::to_string(offset);
    out += R"(,"data":)";
    if (encoding == Encoding::base64) {
        out += '"' + to_base64(bytes) + '"';
    } else {
        append_json_string(out, bytes);
    }
    out += '}';
    return out;
}

}  // namespace

std::string_view to_string(StreamKind kind) noexcept {
    switch (kind) {
        case StreamKind::out: return "stdout";
        case StreamKind::err: return "stderr";
        case StreamKind::pty: return "pty";
    }
    return "stdout";
}

std::string_view content_type(StreamFormat format) noexcept {
    return format == StreamFormat::sse ? "text/event-stream" : "application/x-ndjson";
}

asio::awaitable<Result<void>> EventSink::send(nlohmann::json event) {
    const std::string type = event.at("type").get<std::string>();
    std::string object = event.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    SBX_CO_TRY(const Turn::Held held, co_await turn_.take());
    SBX_CO_CHECK(co_await write(type, std::move(object)));
    last_ = Deadline::Clock::now();
    co_return Result<void>{};
}

asio::awaitable<Result<void>> EventSink::send_output(StreamKind kind, std::uint64_t offset, std::span<const std::byte> bytes) {
    const std::string_view type = to_string(kind);
    std::string object;
    if (encoding_ != Encoding::binary) object = output_event(type, offset, text_of(bytes), encoding_);
    SBX_CO_TRY(const Turn::Held held, co_await turn_.take());
    if (encoding_ == Encoding::binary) {
        SBX_CO_CHECK(co_await write_binary(kind, offset, bytes));
    } else {
        SBX_CO_CHECK(co_await write(type, std::move(object)));
    }
    last_ = Deadline::Clock::now();
    co_return Result<void>{};
}

asio::awaitable<Result<void>> EventSink::keep_alive(Deadline::Clock::duration period, Latch& end) {
    last_ = Deadline::Clock::now();
    while (!end.is_set()) {
        const auto silence = Deadline::Clock::now() - last_;
        if (silence >= period) {
            SBX_CO_TRY(const Turn::Held held, co_await turn_.take());
            SBX_CO_CHECK(co_await write_sign_of_life());
            last_ = Deadline::Clock::now();
            continue;
        }
        auto ended = co_await end.wait(Deadline::after(period - silence));
        if (!ended && !ended.error().is(Errc::timeout)) co_return std::move(ended).error();
    }
    co_return Result<void>{};
}

asio::awaitable<Result<void>> EventSink::write_binary(StreamKind, std::uint64_t, std::span<const std::byte>) {
    co_return Error{Errc::internal, "stream", "binary output where there are no binary frames"};
}

asio::awaitable<Result<void>> EventSink::write_sign_of_life() { co_return Result<void>{}; }

asio::awaitable<Result<void>> HttpSink::write_text(std::string text) {
    const std::span<const std::byte> bytes = std::as_bytes(std::span{text});
    co_return co_await exchange_.write(bytes);
}

asio::awaitable<Result<void>> HttpSink::write(std::string_view type, std::string object) {
    std::string text;
    if (format_ == StreamFormat::sse) {
        text.reserve(object.size() + 64);
        text += "event: ";
        text += type;
        text += "\ndata: ";
        text += object;
        text += "\n\n";
    } else {
        text = std::move(object);
        text += '\n';
    }
    co_return co_await write_text(std::move(text));
}

asio::awaitable<Result<void>> HttpSink::write_sign_of_life() {
    if (format_ != StreamFormat::sse) co_return Result<void>{};
    co_return co_await write_text(": keep-alive\n\n");
}

asio::awaitable<Result<void>> SocketSink::write(std::string_view, std::string object) {
    co_return co_await socket_.send_text(std::move(object));
}

asio::awaitable<Result<void>> SocketSink::write_binary(StreamKind kind, std::uint64_t offset, std::span<const std::byte> bytes) {
    std::array<std::byte, 9> head{};
    head[0] = static_cast<std::byte>(kind);
    for (std::size_t i = 0; i < 8; ++i) head[1 + i] = static_cast<std::byte>(offset >> (8 * (7 - i)) & 0xffU);
    const std::span<const std::byte> head_bytes{head};
    co_return co_await socket_.send_binary(head_bytes, bytes);
}

namespace {

// One element of an Accept header: "text/event-stream;q=0.5".
struct Accepted {
    std::string_view type;
    int quality = 1000;  // of 1000; an unreadable q counts as 1
};

std::string_view trimmed(std::string_view text) noexcept {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

std::string_view cut(std::string_view& rest, char separator) noexcept {
    const std::size_t at = rest.find(separator);
    const std::string_view head = rest.substr(0, at);
    rest = at == std::string_view::npos ? std::string_view{} : rest.substr(at + 1);
    return trimmed(head);
}

Accepted parse_accepted(std::string_view element) {
    Accepted accepted;
    accepted.type = cut(element, ';');
    while (!element.empty()) {
        const std::string_view parameter = cut(element, ';');
        if (!parameter.starts_with("q=") && !parameter.starts_with("Q=")) continue;
        double quality = 1;
        const auto [end, code] = std::from_chars(parameter.data() + 2, parameter.data() + parameter.size(), quality);
        if (code == std::errc{}) accepted.quality = static_cast<int>(std::clamp(quality, 0.0, 1.0) * 1000);
    }
    return accepted;
}

bool same_type(std::string_view one, std::string_view other) noexcept {
    return std::equal(one.begin(), one.end(), other.begin(), other.end(), [](char a, char b) {
        return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b;
    });
}

}  // namespace

Result<std::optional<StreamFormat>> wanted_stream(const Exchange& exchange) {
    const std::string_view header = exchange.header("Accept").value_or("");
    std::optional<StreamFormat> best;
    if (trimmed(header).empty()) return best;
    int best_quality = 0;
    bool anything = false;
    for (std::string_view rest = header; !rest.empty();) {
        const Accepted accepted = parse_accepted(cut(rest, ','));
        // Wildcards say nothing about streams: they neither ask for one nor win over one.
        const bool wild = same_type(accepted.type, "*/*") || same_type(accepted.type, "application/*");
        if (wild && accepted.quality > 0) anything = true;
        if (accepted.quality <= best_quality) continue;  // of equals the first one
        std::optional<StreamFormat> format;
        if (same_type(accepted.type, "application/x-ndjson")) format = StreamFormat::ndjson;
        if (same_type(accepted.type, "text/event-stream")) format = StreamFormat::sse;
        if (!format && !same_type(accepted.type, "application/json")) continue;
        best = format;
        best_quality = accepted.quality;
    }
    if (best_quality > 0 || anything) return best;
    constexpr std::string_view kOffered = "application/json, application/x-ndjson or text/event-stream";
    return Error{Errc::not_acceptable, "Accept", "this can be answered as " + std::string{kOffered}}.fact("expected", std::string{kOffered});
}

}  // namespace sandboxd::api
