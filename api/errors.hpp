#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "api/exchange.hpp"
#include "sandboxd/core/error.hpp"

namespace sandboxd::api {

[[nodiscard]] unsigned http_status(Errc code) noexcept;

// {"code", "message", "details": {facts}}: what stands under "error" in every refusal.
[[nodiscard]] nlohmann::json error_json(const Error& error);

// The answer to a request that failed, with the header fields that its status asks for (WWW-Authenticate, Retry-After,
// Allow from the fact "allow"). What was internal stays internal: the message points to the log.
[[nodiscard]] Response error_response(const Error& error);
// For refusals of HTTP's own that no Errc stands for (431, 505, ...).
[[nodiscard]] Response refusal_response(unsigned status, std::string_view code, std::string_view message);

// A field of a request that is wrong: message "FIELD: expected EXPECTED, got GOT" and the facts field, expected, got.
[[nodiscard]] Error field_error(std::string_view field, std::string_view expected, std::string_view got);

}  // namespace sandboxd::api
