#pragma once

#include <span>
#include <string>
#include <string_view>

#include "api/schema.hpp"
#include "sandboxd/core/result.hpp"

// How the checks of JSON bodies and of query parameters speak about fields.
namespace sandboxd::api {

[[nodiscard]] std::string describe_integer(const Field& field);   // "an integer from 1 to 1000"
[[nodiscard]] std::string describe_number(const Field& field);
[[nodiscard]] std::string list_values(std::span<const std::string_view> values);  // "a, b or c"
[[nodiscard]] std::string list_names(std::span<const Field> fields);              // "a, b, c", or "none"
// The length in bytes and the allowed values of a string.
[[nodiscard]] Result<void> check_string(const Field& field, std::string_view path, std::string_view text);

}  // namespace sandboxd::api
