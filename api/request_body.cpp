#include "api/request_body.hpp"

#include <nlohmann/json.hpp>
#include <string>

namespace sandboxd::api {

constexpr Schema kEmptySchema{"Empty", {}};

asio::awaitable<Result<nlohmann::json>> read_json(Exchange& exchange, const Schema& schema) {
    SBX_CO_TRY(const std::string text, co_await exchange.body());
    co_return parse_json(text, schema);
}

Response no_content() {
    Response response;
    response.status = 204;
    response.content_type.clear();
    return response;
}

}  // namespace sandboxd::api
