#include "sandboxd/core/clock.hpp"

#include <catch2/catch.hpp>
#include <random>

#include "sandboxd/core/deadline.hpp"

namespace sandboxd {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::sys_days;
using std::chrono::year;

WallTime at(int y, unsigned m, unsigned d, nanoseconds time) {
    return sys_days{year{y} / m / d} + time;
}

WallTime parsed(const char* text) {
    const auto result = parse_rfc3339(text);
    INFO(text);
    REQUIRE(result);
    return *result;
}

TEST_CASE("times are written in UTC with milliseconds, rounded down") {
    CHECK(to_rfc3339(at(2026, 1, 31, 12h)) == "2026-01-31T12:00:00.000Z");
    CHECK(to_rfc3339(at(2026, 12, 1, 23h + 59min + 59s + 999'999'999ns)) ==
          "2026-12-01T23:59:59.999Z");
    CHECK(to_rfc3339(WallTime{}) == "1970-01-01T00:00:00.000Z");
    CHECK(to_rfc3339(WallTime{-1ns}) == "1969-12-31T23:59:59.999Z");
    CHECK(to_rfc3339(at(2000, 2, 29, 1ms)) == "2000-02-29T00:00:00.001Z");
}

TEST_CASE("any offset and any fraction is read") {
    const WallTime noon = at(2026, 1, 31, 12h);
    CHECK(parsed("2026-01-31T12:00:00Z") == noon);
    CHECK(parsed("2026-01-31t12:00:00z") == noon);
    CHECK(parsed("2026-01-31 12:00:00Z") == noon);
    CHECK(parsed("2026-01-31T14:30:00+02:30") == noon);
    CHECK(parsed("2026-01-30T22:00:00-14:00") == noon);
    CHECK(parsed("2026-01-31T12:00:00-00:00") == noon);
    CHECK(parsed("2026-01-31T12:00:00.5Z") == noon + 500ms);
    CHECK(parsed("2026-01-31T12:00:00.123456789Z") == noon + 123'456'789ns);
    CHECK(parsed("2026-01-31T12:00:00.1234567899999Z") == noon + 123'456'789ns);
    CHECK(parsed("2016-12-31T23:59:60Z") == at(2017, 1, 1, 0s));  // a leap second
    CHECK(parsed("1970-01-01T00:00:00+23:59") == WallTime{-(23h + 59min)});
}

TEST_CASE("what is no time is refused") {
    for (const char* bad : {"",
                            "2026",
                            "2026-01-31",
                            "2026-01-31T12:00Z",
                            "2026-01-31T12:00:00",
                            "2026-01-31T12:00:00.Z",
                            "2026-01-31T12:00:00+0200",
                            "2026-01-31T12:00:00+24:00",
                            "2026-01-31T12:00:00+01:60",
                            "2026-01-31T12:00:00Z ",
                            " 2026-01-31T12:00:00Z",
                            "2026-1-31T12:00:00Z",
                            "2026-13-01T00:00:00Z",
                            "2026-00-01T00:00:00Z",
                            "2026-02-29T00:00:00Z",
                            "2026-04-31T00:00:00Z",
                            "2026-01-31T24:00:00Z",
                            "2026-01-31T12:60:00Z",
                            "2026-01-31T12:00:61Z",
                            "1969-12-31T23:59:59Z",
                            "2201-01-01T00:00:00Z",
                            "-026-01-31T12:00:00Z",
                            "2026-01-31T12:00:00,5Z",
                            "2026-01-31T12:00:00.5",
                            "20260131T120000Z",
                            "2026-01-31T12:00:00Z2026",
                            "2026-01-31T12:00:00+",
                            "2026-01-31T+1:00:00Z"}) {
        const auto result = parse_rfc3339(bad);
        INFO(bad);
        REQUIRE(!result);
        CHECK(result.error().is(Errc::invalid_argument));
    }
}

TEST_CASE("what is written is read as the same millisecond") {
    std::mt19937_64 random{1};
    for (int i = 0; i < 5000; ++i) {
        const WallTime time{
            nanoseconds{static_cast<std::int64_t>(random() % 7'258'118'400'000'000'000ULL)}};
        const auto back = parse_rfc3339(to_rfc3339(time));
        REQUIRE(back);
        REQUIRE(*back == floor<milliseconds>(time));
    }
}

TEST_CASE("the system's clock goes on, and its two times are those of the standard library") {
    const Clock& clock = sandboxd::system_clock();
    const SteadyTime steady = clock.steady();
    CHECK(clock.steady() >= steady);
    CHECK(abs(clock.wall() - std::chrono::system_clock::now()) < 60s);
}

TEST_CASE("a deadline passes once, and never is later than any") {
    CHECK(Deadline::after(-1s).passed());
    CHECK(!Deadline::after(1h).passed());
    CHECK(!Deadline::never().passed());
    CHECK(Deadline::never().is_never());
    const Deadline soon = Deadline::after(1s);
    CHECK(Deadline::never().earlier_of(soon).time() == soon.time());
    CHECK(soon.earlier_of(Deadline::never()).time() == soon.time());
}

}  // namespace
}  // namespace sandboxd
