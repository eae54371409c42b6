#include "sandboxd/core/utf8.hpp"

#include <cstdint>

namespace sandboxd::utf8 {

namespace {

struct Step {
    std::size_t length;  // bytes consumed, at least 1
    bool valid;
    bool incomplete;  // the input ended inside a so far valid sequence
};

// Table 3-7 of the Unicode standard: the second byte's range depends on the first.
Step decode(std::string_view s) noexcept {
    const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(s[i]); };
    const std::uint8_t first = byte(0);
    if (first < 0x80) return {1, true, false};
    std::size_t need = 0;
    std::uint8_t low = 0x80;
    std::uint8_t high = 0xBF;
    if (first >= 0xC2 && first <= 0xDF) {
        need = 1;
    } else if (first >= 0xE0 && first <= 0xEF) {
        need = 2;
        if (first == 0xE0) low = 0xA0;
        if (first == 0xED) high = 0x9F;
    } else if (first >= 0xF0 && first <= 0xF4) {
        need = 3;
        if (first == 0xF0) low = 0x90;
        if (first == 0xF4) high = 0x8F;
    } else {
        return {1, false, false};
    }
    for (std::size_t i = 1; i <= need; ++i) {
        if (i >= s.size()) return {i, false, true};
        if (byte(i) < low || byte(i) > high) return {i, false, false};
        low = 0x80;
        high = 0xBF;
    }
    return {need + 1, true, false};
}

}  // namespace

void append_valid(std::string& out, std::string_view bytes) {
    while (!bytes.empty()) {
        const Step step = decode(bytes);
        if (step.valid) {
            out.append(bytes.substr(0, step.length));
        } else {
            out += "\xEF\xBF\xBD";
        }
        bytes.remove_prefix(step.length);
    }
}

bool is_valid(std::string_view bytes) noexcept {
    while (!bytes.empty()) {
        const Step step = decode(bytes);
        if (!step.valid) return false;
        bytes.remove_prefix(step.length);
    }
    return true;
}

std::size_t complete_prefix(std::string_view bytes) noexcept {
    for (std::size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
        const std::string_view tail = bytes.substr(bytes.size() - back);
        if ((static_cast<std::uint8_t>(tail[0]) & 0xC0) == 0x80) continue;
        return decode(tail).incomplete ? bytes.size() - back : bytes.size();
    }
    return bytes.size();
}

}  // namespace sandboxd::utf8
