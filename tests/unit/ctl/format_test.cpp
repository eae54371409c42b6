#include <catch2/catch.hpp>

#include "sandboxd/ctl/base64.hpp"
#include "sandboxd/ctl/table.hpp"
#include "sandboxd/ctl/units.hpp"

using namespace sandboxd;
using namespace sandboxd::ctl;

TEST_CASE("times have units") {
    CHECK(*parse_milliseconds("30") == 30'000);
    CHECK(*parse_milliseconds("0") == 0);
    CHECK(*parse_milliseconds("250ms") == 250);
    CHECK(*parse_milliseconds("1.5m") == 90'000);
    CHECK(*parse_milliseconds("2H") == 7'200'000);
    CHECK(*parse_milliseconds("7d") == 604'800'000);
    for (const char* text :
         {"", "s", "-1s", "1x", "1 s", "1e9", "nan", "inf", "99999999999999999d"}) {
        INFO(text);
        CHECK_FALSE(parse_milliseconds(text));
    }
    CHECK(*parse_seconds("90s") == 90);
    CHECK_FALSE(parse_seconds("500ms"));
}

TEST_CASE("sizes are MiB unless they say otherwise") {
    CHECK(*parse_mebibytes("512") == 512);
    CHECK(*parse_mebibytes("512m") == 512);
    CHECK(*parse_mebibytes("512MiB") == 512);
    CHECK(*parse_mebibytes("1.5g") == 1536);
    CHECK(*parse_mebibytes("2GB") == 2048);
    CHECK(*parse_mebibytes("2048k") == 2);
    CHECK(*parse_mebibytes("1t") == 1024 * 1024);
    for (const char* text : {"", "0", "1k", "-1", "1x", "m"}) {
        INFO(text);
        CHECK_FALSE(parse_mebibytes(text));
    }
}

TEST_CASE("a moment is a date, RFC 3339, or a span before now") {
    const WallTime now = *parse_rfc3339("2026-03-01T12:00:00Z");
    CHECK(to_rfc3339(*parse_moment("2026-01-31", now)) == "2026-01-31T00:00:00.000Z");
    CHECK(to_rfc3339(*parse_moment("2026-01-31T01:00:00+01:00", now)) ==
          "2026-01-31T00:00:00.000Z");
    CHECK(to_rfc3339(*parse_moment("36h", now)) == "2026-02-28T00:00:00.000Z");
    CHECK_FALSE(parse_moment("yesterday", now));
    CHECK_FALSE(parse_moment("2026-13-01", now));
}

TEST_CASE("figures are short") {
    CHECK(format_bytes(0) == "0 B");
    CHECK(format_bytes(1023) == "1023 B");
    CHECK(format_bytes(1024) == "1.0 KiB");
    CHECK(format_bytes((1 << 20) - 1) == "1.0 MiB");
    CHECK(format_bytes(25270682) == "24.1 MiB");
    CHECK(format_bytes(~std::uint64_t{0}) == "16.0 EiB");
    CHECK(format_ms(999) == "999 ms");
    CHECK(format_ms(1020) == "1.02 s");
    CHECK(format_ms(59'999) == "1m 00s");
    CHECK(format_ms(185'000) == "3m 05s");
    CHECK(format_ms(7'800'000) == "2h 10m");
    CHECK(format_ms(3 * 86'400'000ULL + 4 * 3'600'000) == "3d 04h");
    const WallTime now = *parse_rfc3339("2026-03-01T12:00:00Z");
    CHECK(format_age("2026-03-01T11:59:00Z", now) == "60s");
    CHECK(format_age("2026-03-01T11:00:00Z", now) == "60m");
    CHECK(format_age("2026-03-04T12:00:00Z", now) == "3d");
    CHECK(format_age("", now) == "-");
}

TEST_CASE("pairs have a name") {
    CHECK(parse_pair("a=b=c", "x")->value == "b=c");
    CHECK(parse_pair("a=", "x")->value.empty());
    CHECK_FALSE(parse_pair("a", "x"));
    CHECK_FALSE(parse_pair("=a", "x"));
}

TEST_CASE("base64 is what RFC 4648 says, and nothing else") {
    for (const auto& [plain, text] :
         std::vector<std::pair<std::string, std::string>>{{"", ""},
                                                          {"f", "Zg=="},
                                                          {"fo", "Zm8="},
                                                          {"foo", "Zm9v"},
                                                          {"foob", "Zm9vYg=="},
                                                          {std::string("\0\xff", 2), "AP8="}}) {
        CHECK(to_base64(plain) == text);
        CHECK(*from_base64(text) == plain);
    }
    for (const char* text : {"Z", "Zg=", "Zg", "Z===", "Zg==Zg==", "Zm9*", "Zm9v\n"}) {
        INFO(text);
        CHECK_FALSE(from_base64(text));
    }
    std::string all;
    for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
    CHECK(*from_base64(to_base64(all)) == all);
}

TEST_CASE("a table is aligned by characters and has no blanks at the end of a line") {
    Table table{{{"NAME"}, {"SIZE", Align::right}, {"NOTE"}}};
    table.add({{"grün"}, {"1"}, {""}});
    table.add({{"a"}, {"12345"}, {"x", Colour::red}});
    CHECK(table.text(Palette::plain) == "NAME   SIZE  NOTE\ngrün      1\na     12345  x\n");
    CHECK(table.text(Palette::coloured).find("\x1b[31mx\x1b[0m") != std::string::npos);
}

TEST_CASE("what a sandbox names is no command to the terminal") {
    CHECK(printable("a\x1b[31m\x07\n\x7f") == "a?[31m???");
    CHECK(printable("grün") == "grün");
    CHECK(printable("a\xC2\x9B"
                    "31m") == "a??31m");  // the one-character CSI
    Table table{{{"N"}}};
    table.add({{"\x1b]0;title\x07"}});
    CHECK(table.text(Palette::coloured).find("\x1b]") == std::string::npos);
}
