#include "sandboxd/ledger/packed_rows.hpp"

#include <catch2/catch.hpp>
#include <limits>
#include <random>

#include "sandboxd/ledger/cursor.hpp"

namespace sandboxd::ledger {
namespace {

std::vector<Reading> an_hour(unsigned seed) {
    std::mt19937_64 random{seed};
    const auto below = [&](std::uint64_t end) {
        return std::uniform_int_distribution<std::uint64_t>{0, end - 1}(random);
    };
    std::vector<Reading> out;
    Reading row;
    row.time = 1'769'900'000'000'000'000;
    for (int i = 0; i < 3600; ++i) {
        row.time += 999'000'000 + static_cast<std::int64_t>(below(2'000'000));
        Counters& c = row.figures.counters;
        c.wall_ns += 1'000'000'000 + below(1000);
        c.cpu_ns += below(1'000'000'000);
        c.memory_kib_ms += below(512'000'000);
        c.disk_bytes = below(1 << 30);
        c.disk_kib_ms += c.disk_bytes >> 10;
        row.figures.cost += static_cast<std::int64_t>(below(20'000'000));
        row.figures.book = 1;
        out.push_back(row);
    }
    return out;
}

TEST_CASE("packed rows come back as they were, in a quarter of the space") {
    const auto rows = an_hour(1);
    const std::string bytes = pack(rows);
    CHECK(bytes.size() < rows.size() * 40);
    const auto back = unpack(bytes);
    REQUIRE(back);
    CHECK(*back == rows);
}

TEST_CASE("the extremes of every field survive packing") {
    constexpr auto kU = std::numeric_limits<std::uint64_t>::max();
    constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
    constexpr auto kLeast = std::numeric_limits<std::int64_t>::min();
    const std::vector<Reading> rows{{kLeast, {{kU, 0, kU, 0, kU, 0, kU, 0}, kLeast, kMost}},
                                    {kMost, {{0, kU, 0, kU, 0, kU, 0, kU}, kMost, kLeast}},
                                    {0, {{}, 0, 0}},
                                    {-1, {{1, 1, 1, 1, 1, 1, 1, 1}, -1, -1}}};
    const auto back = unpack(pack(rows));
    REQUIRE(back);
    CHECK(*back == rows);
    const auto none = unpack(pack({}));
    REQUIRE(none);
    CHECK(none->empty());
}

TEST_CASE("packed rows that were cut or changed are no crash, and a cut inside a row is an error") {
    auto rows = an_hour(2);
    rows.resize(3);
    const std::string bytes = pack(rows);
    std::size_t whole = 0;
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const auto back = unpack(std::string_view{bytes}.substr(0, size));
        if (back) ++whole;
        if (!back) CHECK(back.error().is(Errc::internal));
    }
    CHECK(whole == 3);  // after no row, after one, after two
    CHECK(!unpack("\x02"));
    CHECK(!unpack(std::string("\x01") + std::string(11, '\xff')));
    std::mt19937 random{3};
    for (int i = 0; i < 2000; ++i) {
        std::string changed = bytes;
        changed[random() % changed.size()] = static_cast<char>(random());
        (void)unpack(changed);  // either answer is right; the sanitizers watch
    }
}

TEST_CASE("hours and days round down on both sides of 1970") {
    static_assert(hour_of(0) == 0 && hour_of(kNanosPerHour - 1) == 0 &&
                  hour_of(kNanosPerHour) == 1);
    static_assert(hour_of(-1) == -1 && hour_of(-kNanosPerHour) == -1 &&
                  hour_of(-kNanosPerHour - 1) == -2);
    static_assert(day_of_hour(23) == 0 && day_of_hour(24) == 1 && day_of_hour(-1) == -1 &&
                  day_of_hour(-24) == -1);
    CHECK(hour_of(std::numeric_limits<std::int64_t>::min()) < 0);
}

TEST_CASE("a cursor comes back as the key that it was made of, for its own grouping only") {
    const RowKey key{-3, "sandbox.with.dots", 1LL << 62, kIdle};
    const std::string cursor = write_cursor(GroupBy::exec, key);
    const auto back = read_cursor(GroupBy::exec, cursor);
    REQUIRE(back);
    CHECK(*back == key);
    for (const GroupBy other : {GroupBy::tenant, GroupBy::sandbox, GroupBy::day})
        CHECK(!read_cursor(other, cursor));
    for (const char* bad : {"x", "zz", "65", "6530", "7430", "653a2e302e302e", "652e2e2e"}) {
        const auto result = read_cursor(GroupBy::exec, bad);
        INFO(bad);
        REQUIRE(!result);
        CHECK(result.error().is(Errc::invalid_argument));
    }
}

}  // namespace
}  // namespace sandboxd::ledger
