#include "sandboxd/ledger/cursor.hpp"

#include <charconv>

namespace sandboxd::ledger {

namespace {

// In hexadecimal, so that nobody is tempted to take it apart: letter of the grouping, day, life,
// exec, name.
constexpr std::string_view kDigits = "0123456789abcdef";

char letter_of(GroupBy group_by) {
    switch (group_by) {
        case GroupBy::tenant:
            return 't';
        case GroupBy::sandbox:
            return 's';
        case GroupBy::exec:
            return 'e';
        case GroupBy::day:
            return 'd';
    }
    return '?';
}

bool from_hex(std::string_view hex, std::string& out) {
    if (hex.size() % 2 != 0) return false;
    for (std::size_t i = 0; i < hex.size(); i += 2) {
        const auto high = kDigits.find(hex[i]);
        const auto low = kDigits.find(hex[i + 1]);
        if (high == std::string_view::npos || low == std::string_view::npos) return false;
        out += static_cast<char>(static_cast<unsigned char>(high << 4 | low));
    }
    return true;
}

// "123." off the front.
template <class T>
bool take_number(std::string_view& text, T& out) {
    const auto dot = text.find('.');
    if (dot == std::string_view::npos) return false;
    const auto [end, error] = std::from_chars(text.data(), text.data() + dot, out);
    if (error != std::errc{} || end != text.data() + dot) return false;
    text.remove_prefix(dot + 1);
    return true;
}

}  // namespace

std::string write_cursor(GroupBy group_by, const RowKey& key) {
    const std::string plain = letter_of(group_by) + std::to_string(key.day) + "." +
                              std::to_string(key.life) + "." + std::to_string(key.exec) + "." +
                              key.name;
    std::string out;
    for (const char c : plain) {
        out += kDigits[static_cast<unsigned char>(c) >> 4];
        out += kDigits[static_cast<unsigned char>(c) & 15U];
    }
    return out;
}

Result<RowKey> read_cursor(GroupBy group_by, std::string_view cursor) {
    const auto bad = [] { return Error{Errc::invalid_argument, "cursor", "not one of this list"}; };
    std::string plain;
    if (!from_hex(cursor, plain) || plain.empty() || plain.front() != letter_of(group_by))
        return bad();
    std::string_view rest = std::string_view{plain}.substr(1);
    RowKey out;
    if (!take_number(rest, out.day) || !take_number(rest, out.life) || !take_number(rest, out.exec))
        return bad();
    out.name = rest;
    return out;
}

}  // namespace sandboxd::ledger
