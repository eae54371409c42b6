#include "sandboxd/ctl/base64.hpp"

#include <array>
#include <cstdint>

namespace sandboxd::ctl {

namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr auto kDigits = [] {
    std::array<std::int8_t, 256> digits{};
    digits.fill(-1);
    for (std::size_t i = 0; i < kAlphabet.size(); ++i)
        digits[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
    return digits;
}();

unsigned byte_at(std::string_view text, std::size_t at) {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0;
}

}  // namespace

std::string to_base64(std::string_view bytes) {
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const unsigned group =
            byte_at(bytes, i) << 16 | byte_at(bytes, i + 1) << 8 | byte_at(bytes, i + 2);
        out += kAlphabet[group >> 18];
        out += kAlphabet[group >> 12 & 63U];
        out += i + 1 < bytes.size() ? kAlphabet[group >> 6 & 63U] : '=';
        out += i + 2 < bytes.size() ? kAlphabet[group & 63U] : '=';
    }
    return out;
}

Result<std::string> from_base64(std::string_view text) {
    const Error bad{Errc::protocol_error, "base64", "not the standard alphabet with padding"};
    if (text.size() % 4 != 0) return bad;
    std::size_t padding = 0;
    while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=')
        ++padding;
    std::string out;
    out.reserve(text.size() / 4 * 3);
    unsigned group = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const int digit =
            i + padding >= text.size() ? 0 : kDigits[static_cast<unsigned char>(text[i])];
        if (digit < 0) return bad;
        group = group << 6 | static_cast<unsigned>(digit);
        if (i % 4 != 3) continue;
        for (const int shift : {16, 8, 0}) out += static_cast<char>(group >> shift & 255U);
        group = 0;
    }
    out.resize(out.size() - padding);
    return out;
}

}  // namespace sandboxd::ctl
