#include "sandboxd/ctl/answer.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "sandboxd/ctl/api_client.hpp"

using namespace sandboxd;
using namespace sandboxd::ctl;
using nlohmann::json;

TEST_CASE("a refusal keeps its code, message and details") {
    const Error error = error_of_answer(
        400,
        R"({"error":{"code":"limit_exceeded","message":"too much","details":{"limit":"memory_mb","asked":9000,"list":[1]}}})");
    CHECK(error.is(Errc::limit_exceeded));
    CHECK(error.message() == "too much");
    CHECK(error_json(error) ==
          json::parse(R"({"error":{"code":"limit_exceeded","message":"too much",
        "details":{"limit":"memory_mb","asked":9000,"list":"[1]"}}})"));
}

TEST_CASE("a code of a newer daemon falls into the class of its status") {
    CHECK(error_of_answer(404, R"({"error":{"code":"lost_in_space","message":"m"}})")
              .is(Errc::not_found));
    CHECK(error_of_answer(401, R"({"error":{"code":"x","message":"m"}})").is(Errc::unauthorized));
    CHECK(
        error_of_answer(429, R"({"error":{"code":"x","message":"m"}})").is(Errc::invalid_argument));
    CHECK(error_of_answer(502, R"({"error":{"code":"x","message":"m"}})").is(Errc::unavailable));
}

TEST_CASE("an answer that is not the daemon's is quoted, not trusted") {
    for (const char* body : {"", "<html>\x1b[2J</html>", "[]", "{\"error\":\"text\"}", "{"}) {
        const Error error = error_of_answer(502, body);
        CHECK(error.is(Errc::unavailable));
        CHECK(error.message().find("HTTP 502") != std::string::npos);
        CHECK(error.message().find('\x1b') == std::string::npos);
    }
    CHECK(error_of_answer(500, std::string(100'000, 'x')).message().size() < 1000);
}

TEST_CASE("an unauthorized one learns where the key was looked for") {
    Target target;
    target.address = *parse_address("http://127.0.0.1:8090");
    target.key_note = "no such file";
    const Error none = explain_unauthorized(Error{Errc::unauthorized, "no valid key"}, target);
    CHECK(none.message().find("no such file") != std::string::npos);
    target.key = "sbx_secret";
    const Error wrong = explain_unauthorized(Error{Errc::unauthorized, "no valid key"}, target);
    CHECK(wrong.message().find("not one of this daemon's") != std::string::npos);
    CHECK(wrong.message().find("sbx_secret") == std::string::npos);
    CHECK(explain_unauthorized(Error{Errc::not_found, "x"}, target).is(Errc::not_found));
}

TEST_CASE("how a program ended") {
    CHECK(exit_code_of(json{{"exit_code", 7}}) == 7);
    CHECK(exit_code_of(json{{"exit_code", nullptr}}) == 125);
    CHECK(exit_code_of(json::object()) == 125);
    CHECK_FALSE(
        ended_by(json{{"status", "exited"}, {"error", {{"message", "exited with code 1"}}}}));
    CHECK_FALSE(ended_by(json{{"status", "signaled"}}));
    CHECK(ended_by(json{{"status", "oom_killed"}, {"error", {{"message", "out of memory"}}}}) ==
          "out of memory");
    CHECK(ended_by(json{{"status", "lost"}}) == "the program ended: lost");
    CHECK(describe_cost(json{{"cost", {{"amount", "0.1"}, {"currency", "USD"}}}}) == "0.1 USD");
    CHECK(describe_cost(json::object()) == "-");
}

TEST_CASE("lines come out whole, however they came in") {
    const std::string text = "one\ntwo\n\nthree";
    for (std::size_t piece = 1; piece <= text.size(); ++piece) {
        LineSplitter lines;
        std::vector<std::string> seen;
        for (std::size_t at = 0; at < text.size(); at += piece) {
            CHECK(lines.feed(std::string_view{text}.substr(at, piece), [&](std::string_view line) {
                seen.emplace_back(line);
                return Result<void>{};
            }));
        }
        CHECK(seen == std::vector<std::string>{"one", "two", ""});
        CHECK(lines.rest() == "three");
    }
}

TEST_CASE("a line that never ends is refused") {
    LineSplitter lines;
    const std::string piece(16 << 20, 'x');
    Result<void> fed;
    for (int i = 0; i < 5 && fed; ++i)
        fed = lines.feed(piece, [](std::string_view) { return Result<void>{}; });
    REQUIRE_FALSE(fed);
    CHECK(fed.error().is(Errc::protocol_error));
}
