#include "sandboxd/core/utf8.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <string>

namespace sandboxd::utf8 {
namespace {

const std::string kReplacement = "\xEF\xBF\xBD";

std::string valid(std::string_view bytes) {
    std::string out;
    append_valid(out, bytes);
    return out;
}

// As the standard's table 3-7 has it, by the numbers and not by ranges of bytes.
void encode(std::string& out, std::uint32_t point) {
    const auto put = [&](std::uint32_t byte) {
        out += static_cast<char>(static_cast<unsigned char>(byte));
    };
    if (point < 0x80) {
        put(point);
    } else if (point < 0x800) {
        put(0xC0 | point >> 6);
        put(0x80 | (point & 63));
    } else if (point < 0x10000) {
        put(0xE0 | point >> 12);
        put(0x80 | (point >> 6 & 63));
        put(0x80 | (point & 63));
    } else {
        put(0xF0 | point >> 18);
        put(0x80 | (point >> 12 & 63));
        put(0x80 | (point >> 6 & 63));
        put(0x80 | (point & 63));
    }
}

TEST_CASE("every character is valid and stays as it is, every surrogate is not") {
    for (std::uint32_t point = 0; point <= 0x10FFFF; ++point) {
        std::string text;
        encode(text, point);
        const bool surrogate = point >= 0xD800 && point <= 0xDFFF;
        if (is_valid(text) == surrogate) FAIL("U+" << std::hex << point);
        if (!surrogate && valid(text) != text) FAIL("U+" << std::hex << point);
    }
    std::string beyond;
    encode(beyond, 0x110000);
    CHECK(!is_valid(beyond));
}

TEST_CASE("each maximal invalid part becomes one replacement character") {
    const std::string& r = kReplacement;
    CHECK(valid("") == "");
    CHECK(valid("plain \xC3\xA4") == "plain \xC3\xA4");
    CHECK(valid("\x80") == r);
    CHECK(valid("\xC0\xAF") == r + r);          // overlong: neither byte can begin anything
    CHECK(valid("\xE0\x80\xAF") == r + r + r);  // overlong
    CHECK(valid("\xED\xA0\x80") == r + r + r);  // surrogate
    CHECK(valid("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42") ==
          r + r + r + r + r + "A" + r + r + "B");  // the standard's own example
    CHECK(valid("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41") ==
          r + r + r + r + "A");  // truncated sequences, likewise
    CHECK(valid("a\xE2\x82") == "a" + r);
    CHECK(valid("\xF8\x88\x80\x80\x80") == r + r + r + r + r);
}

TEST_CASE("what append_valid makes is always valid") {
    std::mt19937 random{1};
    for (int i = 0; i < 20000; ++i) {
        std::string bytes;
        for (int n = 0; n < 12; ++n) {
            // Mostly bytes that matter.
            const auto kind = random() % 4;
            bytes += static_cast<char>(kind == 0   ? 'a'
                                       : kind == 1 ? 0x80 | random() % 64
                                                   : 0xC0 | random() % 64);
        }
        const std::string out = valid(bytes);
        REQUIRE(is_valid(out));
        if (is_valid(bytes)) REQUIRE(out == bytes);
    }
}

TEST_CASE("a stream is cut before a character that is not complete, and nowhere else") {
    const std::string text =
        "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\xA7\xAA"
        "b";  // a ä € 🧪 b
    for (std::size_t size = 0; size <= text.size(); ++size) {
        const std::size_t cut = complete_prefix(std::string_view{text}.substr(0, size));
        INFO(size);
        CHECK(size - cut <= 3);
        CHECK(is_valid(std::string_view{text}.substr(0, cut)));
        // Nothing that is complete is held back.
        CHECK(!is_valid(std::string_view{text}.substr(cut, size - cut)) != (size == cut));
    }
    CHECK(complete_prefix("") == 0);
    CHECK(complete_prefix("\xFF") == 1);
    CHECK(complete_prefix("a\x80\x80\x80\x80") == 5);
    CHECK(complete_prefix("\xE0\x80") == 2);  // can't become anything
    CHECK(complete_prefix("\xF0\x9F\x41") == 3);
    CHECK(complete_prefix("\xED\xA0") == 2);
}

TEST_CASE("a stream that is cut anywhere and put together again loses no character") {
    std::mt19937 random{2};
    std::string text;
    for (int i = 0; i < 400; ++i) encode(text, static_cast<std::uint32_t>(random() % 0xD800));
    std::string out;
    std::string held;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t size = std::min<std::size_t>(1 + random() % 5, text.size() - at);
        held += text.substr(at, size);
        at += size;
        const std::size_t cut = complete_prefix(held);
        append_valid(out, std::string_view{held}.substr(0, cut));
        held.erase(0, cut);
    }
    CHECK(held.empty());
    CHECK(out == text);
}

}  // namespace
}  // namespace sandboxd::utf8
