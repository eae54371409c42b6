#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "sandboxd/core/result.hpp"

namespace sandboxd::api {

inline constexpr std::size_t kJsonDepthMax = 32;

// JSON text as a value, strictly: one document, valid UTF-8, no duplicate keys, a bounded depth. invalid_argument says
// where it is wrong.
[[nodiscard]] Result<nlohmann::json> parse_json_text(std::string_view text);

}  // namespace sandboxd::api
