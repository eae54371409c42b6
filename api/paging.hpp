#pragma once

#include <cstddef>
#include <string_view>

#include "api/exchange.hpp"
#include "api/schema.hpp"
#include "sandboxd/core/result.hpp"

// The two query parameters of every list. A cursor is the place of the last row that was seen, so that rows which come
// and go meanwhile neither repeat nor hide others.
namespace sandboxd::api {

inline constexpr std::size_t kPageDefault = 100;
inline constexpr std::size_t kPageMost = 1000;

inline constexpr Field kLimitParameter{.name = "limit", .type = Type::integer, .description = "At most this many.", .min = 1,
                                       .max = kPageMost, .default_text = "100"};
inline constexpr Field kCursorParameter{.name = "cursor", .description = "next_cursor of the page before."};
inline constexpr Field kNextCursorField{.name = "next_cursor", .description = "For the next page; absent on the last one."};

// The parameter `limit`. invalid_argument names it.
[[nodiscard]] Result<std::size_t> page_limit(const Exchange& exchange);

// The parameter `cursor` is none of ours, or another list's.
[[nodiscard]] Error cursor_error(std::string_view cursor);

}  // namespace sandboxd::api
