#pragma once

#include <boost/asio/awaitable.hpp>
#include <nlohmann/json_fwd.hpp>

#include "api/exchange.hpp"
#include "api/schema.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::api {

// Of a POST that needs no more than its path: no body, or {}.
extern const Schema kEmptySchema;

// The whole body as JSON that satisfies the schema, which must live forever: body() and parse_json() in one.
[[nodiscard]] asio::awaitable<Result<nlohmann::json>> read_json(Exchange& exchange, const Schema& schema);

// 204.
[[nodiscard]] Response no_content();

}  // namespace sandboxd::api
