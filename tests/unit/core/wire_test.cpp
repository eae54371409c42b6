#include "sandboxd/core/wire.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

namespace sandboxd::wire {
namespace {

enum class Colour : std::uint16_t { red = 1, blue = 0xBEEF };

struct Inner {
    std::int32_t x = 0;
    std::string_view name;
    template <class A, class S>
    static bool visit(A& a, S& s) {
        return a(s.x) && a(s.name);
    }
};

struct Message {
    std::uint8_t byte = 0;
    bool flag = false;
    std::uint64_t number = 0;
    std::int64_t negative = 0;
    Colour colour = Colour::red;
    std::string_view text;
    Inner inner;
    std::uint32_t list[3] = {};
    Inner inners[2];
    template <class A, class S>
    static bool visit(A& a, S& s) {
        return a(s.byte) && a(s.flag) && a(s.number) && a(s.negative) && a(s.colour) && a(s.text) &&
               a(s.inner) && a(s.list) && a(s.inners);
    }
};

using Buffer = std::array<std::byte, 256>;

Message full() {
    Message m;
    m.byte = 0xAB;
    m.flag = true;
    m.number = UINT64_MAX - 1;
    m.negative = INT64_MIN;
    m.colour = Colour::blue;
    m.text = std::string_view{"nul \0 inside", 12};
    m.inner = {-5, "inner"};
    m.list[0] = 1;
    m.list[2] = 0xFFFFFFFF;
    m.inners[1] = {7, ""};
    return m;
}

std::size_t encode(Buffer& buffer, const Message& m) {
    Writer writer{buffer.data(), buffer.size()};
    REQUIRE(writer(m));
    return writer.size();
}

TEST_CASE("a message comes back as it was, and nothing is left") {
    Buffer buffer{};
    const Message m = full();
    const std::size_t size = encode(buffer, m);
    Reader reader{buffer.data(), size};
    Message back;
    REQUIRE(reader(back));
    CHECK(reader.done());
    CHECK(back.byte == m.byte);
    CHECK(back.flag == m.flag);
    CHECK(back.number == m.number);
    CHECK(back.negative == m.negative);
    CHECK(back.colour == m.colour);
    CHECK(back.text == m.text);
    CHECK(back.inner.x == -5);
    CHECK(back.inner.name == "inner");
    CHECK(std::equal(std::begin(back.list), std::end(back.list), std::begin(m.list)));
    CHECK(back.inners[1].x == 7);
    CHECK(back.inners[1].name.empty());
}

TEST_CASE("the form of the bytes is fixed: little-endian, lengths in front") {
    Buffer buffer{};
    Writer writer{buffer.data(), buffer.size()};
    REQUIRE(writer(std::uint32_t{0x01020304}));
    REQUIRE(writer(std::string_view{"ab"}));
    REQUIRE(writer(true));
    const std::vector<std::byte> expected{
        std::byte{4}, std::byte{3}, std::byte{2},   std::byte{1},   std::byte{2}, std::byte{0},
        std::byte{0}, std::byte{0}, std::byte{'a'}, std::byte{'b'}, std::byte{1}};
    REQUIRE(writer.size() == expected.size());
    CHECK(std::equal(expected.begin(), expected.end(), buffer.begin()));
}

TEST_CASE("a message that is cut anywhere is refused") {
    Buffer buffer{};
    const std::size_t size = encode(buffer, full());
    for (std::size_t cut = 0; cut < size; ++cut) {
        // A copy of exactly that size, so that a sanitizer sees a read past its end.
        const std::vector<std::byte> bytes(buffer.begin(),
                                           buffer.begin() + static_cast<std::ptrdiff_t>(cut));
        Reader reader{bytes.data(), bytes.size()};
        Message back;
        if (reader(back)) FAIL("cut at " << cut);
    }
}

TEST_CASE("bytes behind a message are seen") {
    Buffer buffer{};
    const std::size_t size = encode(buffer, full());
    Reader reader{buffer.data(), size + 1};
    Message back;
    REQUIRE(reader(back));
    CHECK(!reader.done());
    CHECK(reader.left() == 1);
}

TEST_CASE("a buffer that is too small for a message is not written past its end") {
    Buffer buffer{};
    const std::size_t size = encode(buffer, full());
    for (std::size_t capacity = 0; capacity < size; ++capacity) {
        std::vector<std::byte> small(capacity);
        Writer writer{small.data(), small.size()};
        if (writer(full())) FAIL("capacity " << capacity);
        CHECK(writer.size() <= capacity);
    }
    std::vector<std::byte> exact(size);
    Writer writer{exact.data(), exact.size()};
    CHECK(writer(full()));
}

TEST_CASE("a bool is 0 or 1, and a length that is longer than the message is refused") {
    const std::array<std::byte, 1> two{std::byte{2}};
    Reader reader{two.data(), two.size()};
    bool flag = false;
    CHECK(!reader(flag));
    std::array<std::byte, 6> liar{};
    liar.fill(std::byte{0xff});
    Reader long_text{liar.data(), liar.size()};
    std::string_view text;
    CHECK(!long_text(text));
    liar = {std::byte{3}};
    Reader one_more{liar.data(), liar.size()};
    CHECK(!one_more(text));
    liar = {std::byte{2}};
    Reader fits{liar.data(), liar.size()};
    CHECK(fits(text));
    CHECK(text.size() == 2);
    CHECK(text.data() == reinterpret_cast<const char*>(liar.data()) + 4);  // not a copy
}

TEST_CASE("noise is read or refused, within its bounds") {
    std::mt19937 random{1};
    for (int i = 0; i < 20000; ++i) {
        std::vector<std::byte> noise(random() % 120);
        for (std::byte& b : noise)
            b = static_cast<std::byte>(random() % 4 == 0 ? random() : random() % 3);
        Reader reader{noise.data(), noise.size()};
        Message back;
        if (reader(back)) CHECK(back.text.size() + back.inner.name.size() <= noise.size());
    }
}

}  // namespace
}  // namespace sandboxd::wire
