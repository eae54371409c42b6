#pragma once

#include <boost/asio/awaitable.hpp>
#include <span>
#include <string_view>

#include "api/exchange.hpp"
#include "api/schema.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::api {

// Answers the exchange, or returns an Error, which the server turns into the error body of product's contract.
using Handler = asio::awaitable<Result<void>> (*)(Exchange&);

enum class Auth { none, key, admin };

// One row of the API. The OpenAPI document is generated from these rows, so what is served and what is documented
// can't differ.
struct Route {
    std::string_view method;
    std::string_view pattern;       // "/v1/sandboxes/{id}"
    Handler handler = nullptr;
    std::string_view operation_id = {};  // "createSandbox"
    std::string_view summary = {};
    Auth auth = Auth::key;
    const Schema* body = nullptr;             // JSON body; null: none, or not JSON
    std::span<const Field> query = {};        // query parameters; "metadata.*" allows all that begin with "metadata."
    const Schema* response = nullptr;         // of the success answer
    unsigned success = 200;         // 101: a WebSocket; 409: not in this build, answers only why
    std::string_view response_type = "application/json";
    bool streams_body = false;      // the handler reads the body itself: no size limit, no idempotency
    bool secret = false;            // the answer holds a secret: it is not kept for its Idempotency-Key
};

}  // namespace sandboxd::api
