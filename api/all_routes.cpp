#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "api/exec_routes.hpp"
#include "api/openapi.hpp"
#include "api/resource_routes.hpp"
#include "api/server.hpp"

namespace sandboxd::api {

namespace {

asio::awaitable<Result<void>> get_openapi(Exchange& exchange) {
    static const std::string document = openapi_document(all_routes()).dump(1);
    Response response;
    response.body = document;
    co_return co_await exchange.respond(std::move(response));
}

constexpr std::array kOwn{
    Route{.method = "GET", .pattern = "/openapi.json", .handler = get_openapi, .operation_id = "getOpenApi",
          .summary = "This document.", .auth = Auth::none},
};

}  // namespace

std::span<const Route> all_routes() {
    static const std::vector<Route> routes = [] {
        std::vector<Route> all;
        for (const auto part : {run_routes(), sandbox_routes(), exec_routes(), files_routes(), usage_routes(), admin_routes(), attest_routes(), operations_routes(),
                                std::span<const Route>{kOwn}}) {
            all.insert(all.end(), part.begin(), part.end());
        }
        return all;
    }();
    return routes;
}

}  // namespace sandboxd::api
