#include "api/files_range.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

namespace sandboxd::api {

namespace {

std::string_view trimmed(std::string_view text) noexcept {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

std::optional<std::uint64_t> number(std::string_view text) noexcept {
    std::uint64_t value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || code != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::string hex(std::uint64_t value) {
    std::array<char, 16> buffer{};
    const auto [end, code] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, 16);
    return std::string(buffer.data(), end);
}

bool plain_file_name(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

void append_two_digits(std::string& out, std::uint64_t value) {
    out += static_cast<char>('0' + value / 10 % 10);
    out += static_cast<char>('0' + value % 10);
}

}  // namespace

std::string etag_of(const engine::FileInfo& info) {
    const auto nanoseconds = static_cast<std::uint64_t>(info.modified.time_since_epoch().count());
    return '"' + hex(nanoseconds) + '-' + hex(info.size) + '-' + hex(info.inode) + '"';
}

bool etag_matches(std::string_view header, std::string_view etag) noexcept {
    while (!header.empty()) {
        const std::size_t comma = header.find(',');  // our tags have none
        std::string_view one = trimmed(header.substr(0, comma));
        header = comma == std::string_view::npos ? std::string_view{} : header.substr(comma + 1);
        if (one == "*") return true;
        if (one.starts_with("W/")) one.remove_prefix(2);
        if (one == etag) return true;
    }
    return false;
}

RangeAnswer parse_range(std::string_view header, std::uint64_t size) noexcept {
    constexpr std::string_view kUnit = "bytes=";
    if (!header.starts_with(kUnit)) return {};
    const std::string_view spec = trimmed(header.substr(kUnit.size()));
    const std::size_t dash = spec.find('-');
    if (dash == std::string_view::npos || spec.find(',') != std::string_view::npos) return {};
    const std::string_view first_text = trimmed(spec.substr(0, dash));
    const std::string_view last_text = trimmed(spec.substr(dash + 1));
    const auto last = number(last_text);
    if (!last && !last_text.empty()) return {};
    if (first_text.empty()) {  // the last n bytes
        if (!last) return {};
        if (*last == 0 || size == 0) return {RangeKind::unsatisfiable, {}};
        const std::uint64_t length = std::min(*last, size);
        return {RangeKind::part, {size - length, length}};
    }
    const auto first = number(first_text);
    if (!first || (last && *last < *first)) return {};
    if (*first >= size) return {RangeKind::unsatisfiable, {}};
    const std::uint64_t end = last ? std::min(*last, size - 1) : size - 1;
    return {RangeKind::part, {*first, end - *first + 1}};
}

std::string http_date(WallTime time) {
    using namespace std::chrono;
    constexpr std::array<std::string_view, 7> kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr std::array<std::string_view, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const auto day = floor<days>(time);
    const year_month_day date{day};
    const hh_mm_ss clock{floor<seconds>(time - day)};
    std::string out{kDays[weekday{day}.c_encoding()]};
    out += ", ";
    append_two_digits(out, static_cast<unsigned>(date.day()));
    out += ' ';
    out += kMonths[static_cast<unsigned>(date.month()) - 1];
    out += ' ' + std::to_string(static_cast<int>(date.year())) + ' ';
    append_two_digits(out, static_cast<std::uint64_t>(clock.hours().count()));
    out += ':';
    append_two_digits(out, static_cast<std::uint64_t>(clock.minutes().count()));
    out += ':';
    append_two_digits(out, static_cast<std::uint64_t>(clock.seconds().count()));
    return out + " GMT";
}

std::string attachment(std::string_view path) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    const std::string_view name = path.substr(path.rfind('/') + 1);
    std::string encoded;
    for (const char c : name) {
        const auto byte = static_cast<unsigned char>(c);
        if (plain_file_name(c)) {
            encoded += c;
        } else {
            encoded += '%';
            encoded += kHex[byte >> 4];
            encoded += kHex[byte & 15U];
        }
    }
    return "attachment; filename*=UTF-8''" + encoded;
}

}  // namespace sandboxd::api
