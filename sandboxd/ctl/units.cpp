#include "sandboxd/ctl/units.hpp"

#include <array>
#include <charconv>
#include <cstdio>

namespace sandboxd::ctl {

namespace {

struct Quantity {
    double number = 0;
    std::string unit;  // lower case
};

bool parse_quantity(std::string_view text, Quantity& out) {
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), out.number,
                                             std::chars_format::fixed);
    if (code != std::errc{} || !(out.number >= 0) || out.number > 1e15) return false;
    for (const char* at = end; at != text.data() + text.size(); ++at)
        out.unit += static_cast<char>(*at | 0x20);
    return true;
}

Error bad_time(std::string_view text) {
    return Error{Errc::invalid_argument, "time " + std::string{text},
                 "expected a number with ms, s, m, h or d behind it, such as 90s"};
}

std::string print(const char* format, double value) {
    std::array<char, 64> buffer{};
    const int size = std::snprintf(buffer.data(), buffer.size(), format, value);
    return {buffer.data(), static_cast<std::size_t>(size)};
}

std::string two(std::uint64_t value) {
    return (value < 10 ? "0" : "") + std::to_string(value);
}

}  // namespace

Result<std::uint64_t> parse_milliseconds(std::string_view text) {
    Quantity quantity;
    if (!parse_quantity(text, quantity)) return bad_time(text);
    double scale = 0;
    if (quantity.unit == "ms") scale = 1;
    if (quantity.unit.empty() || quantity.unit == "s") scale = 1000;
    if (quantity.unit == "m" || quantity.unit == "min") scale = 60'000;
    if (quantity.unit == "h") scale = 3'600'000;
    if (quantity.unit == "d") scale = 86'400'000;
    const double ms = quantity.number * scale;
    if (scale == 0 || ms > 9e15) return bad_time(text);
    return static_cast<std::uint64_t>(ms + 0.5);
}

Result<std::uint64_t> parse_seconds(std::string_view text) {
    SBX_TRY(const std::uint64_t ms, parse_milliseconds(text));
    if (ms < 1000)
        return Error{Errc::invalid_argument, "time " + std::string{text},
                     "expected at least one second"};
    return ms / 1000;
}

Result<std::uint64_t> parse_mebibytes(std::string_view text) {
    const Error bad{Errc::invalid_argument, "size " + std::string{text},
                    "expected MiB, or a number with k, m, g or t behind it, such as 2g"};
    Quantity quantity;
    if (!parse_quantity(text, quantity)) return bad;
    if (quantity.unit.ends_with("ib")) quantity.unit.resize(quantity.unit.size() - 2);
    if (quantity.unit.ends_with("b")) quantity.unit.resize(quantity.unit.size() - 1);
    double scale = 0;
    if (quantity.unit == "k") scale = 1.0 / 1024;
    if (quantity.unit.empty() || quantity.unit == "m") scale = 1;
    if (quantity.unit == "g") scale = 1024;
    if (quantity.unit == "t") scale = 1024.0 * 1024;
    const double mebibytes = quantity.number * scale;
    if (mebibytes < 1 || mebibytes > 1e12) return bad;
    return static_cast<std::uint64_t>(mebibytes + 0.5);
}

Result<WallTime> parse_moment(std::string_view text, WallTime now) {
    if (text.size() == 10 && text[4] == '-') return parse_rfc3339(std::string{text} + "T00:00:00Z");
    if (text.find('T') != std::string_view::npos) return parse_rfc3339(text);
    auto ago = parse_milliseconds(text);
    if (!ago) {
        return Error{Errc::invalid_argument, "time " + std::string{text},
                     "expected a date (2026-01-31), RFC 3339 (2026-01-31T12:00:00Z), or a span "
                     "before now (24h, 7d)"};
    }
    return now - std::chrono::milliseconds{*ago};
}

std::string format_bytes(std::uint64_t bytes) {
    constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) return std::to_string(bytes) + " B";
    double value = static_cast<double>(bytes);
    std::size_t unit = 0;
    // 1023.95 would be printed as 1024.0.
    while (value >= 1023.95 && unit + 1 < kUnits.size()) {
        value /= 1024;
        ++unit;
    }
    return print("%.1f ", value) + kUnits[unit];
}

std::string format_ms(std::uint64_t ms) {
    if (ms < 1000) return std::to_string(ms) + " ms";
    if (ms < 59'995) return print("%.2f s", static_cast<double>(ms) / 1000);
    const std::uint64_t s = (ms + 500) / 1000;
    if (s < 3600) return std::to_string(s / 60) + "m " + two(s % 60) + 's';
    if (s < 86'400) return std::to_string(s / 3600) + "h " + two(s % 3600 / 60) + 'm';
    return std::to_string(s / 86'400) + "d " + two(s % 86'400 / 3600) + 'h';
}

std::string format_age(std::string_view rfc3339, WallTime now) {
    const auto then = parse_rfc3339(rfc3339);
    if (!then) return "-";
    const auto span = now > *then ? now - *then : *then - now;
    const auto s = std::chrono::duration_cast<std::chrono::seconds>(span).count();
    if (s < 120) return std::to_string(s) + 's';
    if (s < 7200) return std::to_string(s / 60) + 'm';
    if (s < 172'800) return std::to_string(s / 3600) + 'h';
    return std::to_string(s / 86'400) + 'd';
}

Result<NameValue> parse_pair(std::string_view text, std::string_view what) {
    const std::size_t at = text.find('=');
    if (at == std::string_view::npos || at == 0) {
        return Error{Errc::invalid_argument, std::string{what} + ' ' + std::string{text},
                     "expected NAME=VALUE"};
    }
    return NameValue{std::string{text.substr(0, at)}, std::string{text.substr(at + 1)}};
}

}  // namespace sandboxd::ctl
