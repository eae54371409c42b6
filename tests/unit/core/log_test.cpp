#include "sandboxd/core/log.hpp"

#include <catch2/catch.hpp>

#include "sandboxd/core/utf8.hpp"

namespace sandboxd::log {
namespace {

std::string escaped(std::string_view text, std::size_t limit = 1024) {
    std::string out;
    append_escaped(out, text, limit);
    return out;
}

std::string json(const Field& field) {
    std::string out;
    field.append_json(out);
    return out;
}

TEST_CASE("a user's text can't leave its string or its line") {
    CHECK(escaped("plain ä") == "plain ä");
    CHECK(escaped("\",\"level\":\"x") == "\\\",\\\"level\\\":\\\"x");
    CHECK(escaped("a\\b") == "a\\\\b");
    CHECK(escaped("a\nb\rc\td") == "a\\nb\\rc\\td");
    CHECK(escaped(std::string_view{"\0\x1b[31m\x7f", 7}) == "\\u0000\\u001b[31m\\u007f");
    CHECK(escaped("\xff") == "\xEF\xBF\xBD");
}

TEST_CASE("a long text is cut between characters, and shows it") {
    CHECK(escaped(std::string(1024, 'a')) == std::string(1024, 'a'));
    CHECK(escaped(std::string(1025, 'a')) == std::string(1024, 'a') + "…");
    for (std::size_t limit = 0; limit < 8; ++limit) {
        const std::string out = escaped("a€ä🧪b", limit);
        INFO(limit << " " << out);
        CHECK(utf8::is_valid(out));
        CHECK(out.find("\xEF\xBF\xBD") == std::string::npos);  // nothing was broken that was whole
    }
}

TEST_CASE("fields keep their type") {
    CHECK(json({"k", "text"}) == "\"text\"");
    CHECK(json({"k", std::string{"te\"xt"}}) == "\"te\\\"xt\"");
    CHECK(json({"k", 5}) == "5");
    CHECK(json({"k", std::int64_t{-5}}) == "-5");
    CHECK(json({"k", true}) == "true");
    CHECK(json({"k", UINT64_MAX}) == "18446744073709551615");
    CHECK_THAT(json({"k", Error{Errc::conflict, "mount", "/proc"}}),
               Catch::StartsWith("\"mount: /proc (") && Catch::Contains("log_test.cpp:"));
}

TEST_CASE("a level is read by its name") {
    Level level = Level::error;
    CHECK(parse_level("debug", level));
    CHECK(level == Level::debug);
    CHECK(!parse_level("DEBUG", level));
    CHECK(!parse_level("", level));
    CHECK(level == Level::debug);
}

}  // namespace
}  // namespace sandboxd::log
