#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sandboxd/engine/files.hpp"

// RFC 9110, sections 13 and 14, as far as downloads need them. Pure.
namespace sandboxd::api {

// A strong validator as far as the kernel's time stamps go: a change of the same size within one tick of them, or by a
// program that sets them back, is not seen.
[[nodiscard]] std::string etag_of(const engine::FileInfo& info);

// Whether an If-None-Match header names the tag (weak comparison, lists, "*").
[[nodiscard]] bool etag_matches(std::string_view header, std::string_view etag) noexcept;

struct ByteRange {
    std::uint64_t first = 0;
    std::uint64_t length = 0;
    bool operator==(const ByteRange&) const = default;
};
enum class RangeKind { whole, part, unsatisfiable };
struct RangeAnswer {
    RangeKind kind = RangeKind::whole;
    ByteRange range;  // of a part
};
// What a Range header asks for of `size` bytes. Malformed headers, other units and several ranges answer the whole, as
// the RFC allows.
[[nodiscard]] RangeAnswer parse_range(std::string_view header, std::uint64_t size) noexcept;

// "Tue, 15 Nov 1994 08:12:31 GMT".
[[nodiscard]] std::string http_date(WallTime time);

// Content-Disposition for a download under the path's last part, whatever bytes it has (RFC 6266, RFC 8187).
[[nodiscard]] std::string attachment(std::string_view path);

}  // namespace sandboxd::api
