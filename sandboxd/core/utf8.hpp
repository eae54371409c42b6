#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sandboxd::utf8 {

// Appends `bytes` as valid UTF-8: each maximal invalid part becomes U+FFFD (Unicode 15, section 3.9).
void append_valid(std::string& out, std::string_view bytes);

[[nodiscard]] bool is_valid(std::string_view bytes) noexcept;

// The length of the longest prefix that does not end inside a character: where a stream of bytes
// can be cut for text frames. At most 3 bytes are held back; invalid bytes are never held back.
[[nodiscard]] std::size_t complete_prefix(std::string_view bytes) noexcept;

}  // namespace sandboxd::utf8
