#include "api/stream_encoding.hpp"

#include <openssl/evp.h>

#include <algorithm>

#include "sandboxd/core/utf8.hpp"

namespace sandboxd::api {

namespace {

// OpenSSL takes lengths as int; a multiple of 3 so that pieces join without padding.
constexpr std::size_t kPiece = std::size_t{3} << 20;

bool is_base64_digit(char c) noexcept {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

const unsigned char* bytes_of(std::string_view text) noexcept {
    return reinterpret_cast<const unsigned char*>(text.data());
}

// EVP_DecodeBlock skips white space and accepts stray padding; we promise to refuse both.
std::size_t padding_of(std::string_view text, bool& valid) noexcept {
    std::size_t padding = 0;
    while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
    const std::string_view digits = text.substr(0, text.size() - padding);
    valid = text.size() % 4 == 0 && std::all_of(digits.begin(), digits.end(), is_base64_digit);
    return padding;
}

void append_escaped_ascii(std::string& out, char c) {
    constexpr std::string_view kHex = "0123456789abcdef";
    switch (c) {
        case '"': out += "\\\""; return;
        case '\\': out += "\\\\"; return;
        case '\n': out += "\\n"; return;
        case '\r': out += "\\r"; return;
        case '\t': out += "\\t"; return;
        default: break;
    }
    const auto value = static_cast<unsigned char>(c);
    out += "\\u00";
    out += kHex[value >> 4];
    out += kHex[value & 15U];
}

bool needs_escape(char c) noexcept {
    return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\' || c == 0x7f;
}

void append_escaped(std::string& out, std::string_view valid) {
    while (!valid.empty()) {
        const auto special = std::find_if(valid.begin(), valid.end(), needs_escape);
        const auto plain = static_cast<std::size_t>(special - valid.begin());
        out.append(valid.substr(0, plain));
        if (special == valid.end()) return;
        append_escaped_ascii(out, *special);
        valid.remove_prefix(plain + 1);
    }
}

}  // namespace

std::string to_base64(std::string_view bytes) {
    std::string out;
    out.resize((bytes.size() + 2) / 3 * 4 + 1);  // EVP_EncodeBlock writes a NUL behind
    std::size_t at = 0;
    while (!bytes.empty()) {
        const std::string_view piece = bytes.substr(0, kPiece);
        const int written = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data() + at), bytes_of(piece),
                                            static_cast<int>(piece.size()));
        at += static_cast<std::size_t>(written);
        bytes.remove_prefix(piece.size());
    }
    out.resize(at);
    return out;
}

Result<std::string> from_base64(std::string_view text) {
    bool valid = false;
    const std::size_t padding = padding_of(text, valid);
    if (!valid) return Error{Errc::invalid_argument, "base64", "not the standard alphabet with padding"};
    std::string out;
    out.resize(text.size() / 4 * 3);
    std::size_t at = 0;
    constexpr std::size_t kTextPiece = kPiece / 3 * 4;
    while (!text.empty()) {
        const std::string_view piece = text.substr(0, kTextPiece);
        const int written = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data() + at), bytes_of(piece),
                                            static_cast<int>(piece.size()));
        if (written < 0) return Error{Errc::invalid_argument, "base64", "cannot be decoded"};
        at += static_cast<std::size_t>(written);
        text.remove_prefix(piece.size());
    }
    out.resize(at - padding);
    return out;
}

void append_json_string(std::string& out, std::string_view bytes) {
    out += '"';
    if (utf8::is_valid(bytes)) {
        append_escaped(out, bytes);
    } else {
        std::string valid;
        utf8::append_valid(valid, bytes);
        append_escaped(out, valid);
    }
    out += '"';
}

std::string encode(std::string_view bytes, Encoding encoding) {
    if (encoding != Encoding::text) return to_base64(bytes);
    if (utf8::is_valid(bytes)) return std::string{bytes};
    std::string valid;
    utf8::append_valid(valid, bytes);
    return valid;
}

}  // namespace sandboxd::api
