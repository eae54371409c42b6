#pragma once

#include <string>
#include <string_view>

#include "sandboxd/core/result.hpp"

namespace sandboxd::api {

// How bytes of a program travel to a client.
enum class Encoding {
    text,    // UTF-8; what is not becomes U+FFFD
    base64,  // exact, inside of JSON
    binary,  // exact, in binary WebSocket frames
};

[[nodiscard]] std::string to_base64(std::string_view bytes);
// RFC 4648, section 4, with padding and without line breaks; invalid_argument otherwise.
[[nodiscard]] Result<std::string> from_base64(std::string_view text);

// Appends `bytes` as a JSON string, quotes included; what is not UTF-8 becomes U+FFFD. The way of a hot stream: nothing
// is built in between when the bytes are valid.
void append_json_string(std::string& out, std::string_view bytes);

// As the inside of a JSON string that a JSON library will escape: text made valid, or base64.
[[nodiscard]] std::string encode(std::string_view bytes, Encoding encoding);

}  // namespace sandboxd::api
