#include <csignal>

#include <catch2/catch.hpp>

#include "api/code.hpp"
#include "api/exec_params.hpp"
#include "api/stream_encoding.hpp"
#include "api/stream_events.hpp"
#include "api/stream_reader.hpp"
#include "tests/unit/api/exec_bench.hpp"

// The parts that streams are made of.
namespace sandboxd::api::testing {

namespace {

std::string json_string(std::string_view bytes) {
    std::string out;
    append_json_string(out, bytes);
    return out;
}

}  // namespace

TEST_CASE("base64 goes there and back, and what is not base64 is refused") {
    CHECK(to_base64("") == "");
    CHECK(to_base64("f") == "Zg==");
    CHECK(to_base64("fo") == "Zm8=");
    CHECK(to_base64("foo") == "Zm9v");
    std::string bytes;
    for (int i = 0; i < 4'000'000; ++i) bytes += static_cast<char>(i * 31 >> 3);
    for (const std::size_t size : {0U, 1U, 2U, 255U, 3U << 20, (3U << 20) + 1, 4'000'000U}) {
        const std::string part = bytes.substr(0, size);
        auto back = from_base64(to_base64(part));
        REQUIRE(back.has_value());
        CHECK(*back == part);
    }
    for (const char* bad : {"Z", "Zg", "Zg=", "Zg===", "====", "=", "Z=g=", "Zm9v\n", " Zm9v", "Zm9v====", "Zm9-", "Zm9\xC3"}) {
        CAPTURE(bad);
        CHECK_FALSE(from_base64(bad).has_value());
    }
}

TEST_CASE("a JSON string says every byte that is UTF-8 and replaces the others") {
    std::string all;
    for (int c = 0; c < 128; ++c) all += static_cast<char>(c);
    all += "\xC3\xBC\xF0\x9F\x98\x80";
    CHECK(nlohmann::json::parse(json_string(all)).get<std::string>() == all);
    CHECK(json_string(all).find('\n') == std::string::npos);
    CHECK(nlohmann::json::parse(json_string("a\xFF\xC3")).get<std::string>() == "a\xEF\xBF\xBD\xEF\xBF\xBD");
    CHECK(json_string("") == "\"\"");
}

TEST_CASE("the Accept header chooses a stream only when it names one over JSON") {
    Bench bench;
    const std::vector<std::pair<std::string, std::optional<StreamFormat>>> cases{
        {"", std::nullopt},
        {"*/*", std::nullopt},
        {"application/json", std::nullopt},
        {"application/x-ndjson", StreamFormat::ndjson},
        {"Application/X-NDJSON ; charset=utf-8", StreamFormat::ndjson},
        {"text/event-stream", StreamFormat::sse},
        {"text/event-stream, */*", StreamFormat::sse},
        {"application/json, text/event-stream", std::nullopt},
        {"application/json;q=0.4, text/event-stream;q=0.5", StreamFormat::sse},
        {"text/event-stream;q=0, application/x-ndjson;q=0.1", StreamFormat::ndjson},
        {"text/event-stream;q=0, */*;q=0.1", std::nullopt},
        {"application/*", std::nullopt},
        {" ", std::nullopt},
        {"text/html, application/x-ndjson, text/event-stream", StreamFormat::ndjson},
    };
    for (const auto& [header, format] : cases) {
        CAPTURE(header);
        FakeExchange exchange{bench.io, bench.engine};
        if (!header.empty()) exchange.headers["Accept"] = header;
        const auto wanted = wanted_stream(exchange);
        REQUIRE(wanted.has_value());
        CHECK((*wanted == format));
    }
    for (const std::string header : {"text/html", "text/event-stream;q=0", "application/json;q=0", "image/*, text/plain", "json"}) {
        CAPTURE(header);
        FakeExchange exchange{bench.io, bench.engine};
        exchange.headers["Accept"] = header;
        const auto wanted = wanted_stream(exchange);
        REQUIRE_FALSE(wanted.has_value());
        CHECK(wanted.error().is(Errc::not_acceptable));
    }
}

TEST_CASE("signals have names and numbers") {
    CHECK(*parse_signal("signal", "TERM") == SIGTERM);
    CHECK(*parse_signal("signal", "SIGKILL") == SIGKILL);
    CHECK(*parse_signal("signal", "10") == 10);
    for (const char* bad : {"", "SIG", "term", "0", "65", "-9", "9x", "SIGSIGTERM"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_signal("signal", bad).has_value());
    }
}

namespace {

// Reads a stream to its end, keeping `keep` bytes of each piece back.
asio::awaitable<void> read_all(OutputReader& reader, std::size_t keep, std::string& into, bool& done) {
    while (true) {
        auto piece = co_await reader.next();
        if (!piece || piece->empty()) break;
        const std::size_t back = reader.at_end() ? 0 : std::min(keep, piece->size());
        reader.keep(back);
        into.append(reinterpret_cast<const char*>(piece->data()), piece->size() - back);
    }
    done = true;
}

}  // namespace

TEST_CASE("a reader gives every byte once, whatever the pieces and what is kept back") {
    const std::size_t piece = GENERATE(1, 2, 7, 64);
    const std::size_t keep = GENERATE(0, 1, 3);
    const std::size_t capacity = GENERATE(8, 64);
    Bench bench;
    FakeOutput output{bench.io.get_executor()};
    output.piece = piece;
    Latch end{bench.io.get_executor()};
    OutputReader reader{output, 0, end, capacity};
    std::string got;
    bool done = false;
    asio::co_spawn(bench.io, read_all(reader, keep, got, done), [](std::exception_ptr failure) { REQUIRE_FALSE(failure); });
    std::string all;
    for (int i = 0; i < 100; ++i) {
        const std::string more(static_cast<std::size_t>(i % 5), static_cast<char>('a' + i % 26));
        all += more;
        output.append(more);
        bench.io.poll();
    }
    CHECK_FALSE(done);
    const bool ended_by_stream = GENERATE(true, false);
    if (ended_by_stream) {
        output.finish();
    } else {
        end.set();
    }
    bench.io.poll();
    CHECK(done);
    CHECK(got == all);
}

TEST_CASE("a reader whose program has ended stops at what was there, though a child goes on writing") {
    Bench bench;
    FakeOutput output{bench.io.get_executor()};
    Latch end{bench.io.get_executor()};
    OutputReader reader{output, 2, end, 4};
    output.append("0123456789");
    end.set();
    std::string got;
    auto read = [&]() -> asio::awaitable<void> {
        while (true) {
            auto piece = co_await reader.next();
            if (piece->empty()) co_return;
            got.append(reinterpret_cast<const char*>(piece->data()), piece->size());
            output.append("more");  // for ever
        }
    };
    asio::co_spawn(bench.io, read, [](std::exception_ptr failure) { REQUIRE_FALSE(failure); });
    bench.io.poll();
    CHECK(got == "23456789");
}

namespace {

struct KeepAlive {
    Bench bench;
    FakeExchange exchange{bench.io, bench.engine};
    Latch end{bench.io.get_executor()};
    bool done = false;
    void run(EventSink& sink) {
        asio::co_spawn(bench.io, sink.keep_alive(std::chrono::milliseconds{1}, end),
                       [this](std::exception_ptr failure, Result<void> result) { done = !failure && result.has_value(); });
    }
};

}  // namespace

TEST_CASE("a silent stream of server-sent events shows that it lives, one of lines has no such sign") {
    KeepAlive alive;
    HttpSink sse{alive.exchange, StreamFormat::sse, Encoding::text, alive.bench.io.get_executor()};
    alive.run(sse);
    alive.bench.run_until([&] { return alive.exchange.writes == 2; });
    CHECK(alive.exchange.streamed == ": keep-alive\n\n: keep-alive\n\n");
    alive.end.set();
    alive.bench.run_until([&] { return alive.done; });

    KeepAlive lines;
    HttpSink ndjson{lines.exchange, StreamFormat::ndjson, Encoding::text, lines.bench.io.get_executor()};
    lines.run(ndjson);
    for (int i = 0; i < 10; ++i) lines.bench.io.run_one();
    CHECK(lines.exchange.writes == 0);
    lines.end.set();
    lines.bench.run_until([&] { return lines.done; });
}

}  // namespace sandboxd::api::testing
