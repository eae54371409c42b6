#include "sandboxd/core/clock.hpp"

#include <array>
#include <charconv>
#include <cstdio>

namespace sandboxd {

namespace {

struct SystemClock final : Clock {
    WallTime wall() const override { return std::chrono::time_point_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now()); }
    SteadyTime steady() const override { return std::chrono::steady_clock::now(); }
};

bool number(std::string_view& text, std::size_t width, int& out) {
    if (text.size() < width) return false;
    for (const char c : text.substr(0, width)) {
        if (c < '0' || c > '9') return false;
    }
    std::from_chars(text.data(), text.data() + width, out);
    text.remove_prefix(width);
    return true;
}

bool literal(std::string_view& text, std::string_view any_of) {
    if (text.empty() || any_of.find(text[0]) == std::string_view::npos) return false;
    text.remove_prefix(1);
    return true;
}

}  // namespace

const Clock& system_clock() noexcept {
    static const SystemClock clock;
    return clock;
}

std::string to_rfc3339(WallTime time) {
    using namespace std::chrono;
    const auto day = floor<days>(time);
    const year_month_day date{day};
    const hh_mm_ss clock{floor<milliseconds>(time - day)};
    std::array<char, 64> out{};
    std::snprintf(out.data(), out.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ", static_cast<int>(date.year()),
                  static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                  static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                  static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
    return out.data();
}

Result<WallTime> parse_rfc3339(std::string_view text) {
    using namespace std::chrono;
    const auto bad = [] { return Error{Errc::invalid_argument, "time", "expected RFC 3339, for example 2026-01-31T12:00:00Z"}; };
    int y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0;
    if (!(number(text, 4, y) && literal(text, "-") && number(text, 2, mo) && literal(text, "-") && number(text, 2, d) &&
          literal(text, "Tt ") && number(text, 2, h) && literal(text, ":") && number(text, 2, mi) && literal(text, ":") &&
          number(text, 2, s))) {
        return bad();
    }
    const year_month_day date{year{y}, month{static_cast<unsigned>(mo)}, day{static_cast<unsigned>(d)}};
    if (!date.ok() || y < 1970 || y > 2200 || h > 23 || mi > 59 || s > 60) return bad();
    std::int64_t nanos = 0;
    if (literal(text, ".")) {
        std::int64_t scale = 100'000'000;
        int digits = 0;
        while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
            nanos += scale * (text[0] - '0');
            scale /= 10;
            ++digits;
            text.remove_prefix(1);
        }
        if (digits == 0) return bad();
    }
    minutes offset{0};
    if (!literal(text, "Zz")) {
        const bool minus = !text.empty() && text[0] == '-';
        int oh = 0, om = 0;
        if (!(literal(text, "+-") && number(text, 2, oh) && literal(text, ":") && number(text, 2, om)) || oh > 23 || om > 59) return bad();
        offset = hours{oh} + minutes{om};
        if (minus) offset = -offset;
    }
    if (!text.empty()) return bad();
    return WallTime{sys_days{date} + hours{h} + minutes{mi} + seconds{s} + nanoseconds{nanos} - offset};
}

}  // namespace sandboxd
