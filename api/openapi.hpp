#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>

#include "api/route.hpp"

namespace sandboxd::api {

// The OpenAPI 3.1 document of a route table: what is served and what is documented are the same rows.
[[nodiscard]] nlohmann::json openapi_document(std::span<const Route> routes);

}  // namespace sandboxd::api
