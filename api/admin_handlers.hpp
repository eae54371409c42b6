#pragma once

#include <boost/asio/awaitable.hpp>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "api/exchange.hpp"
#include "api/schema.hpp"
#include "policies/limits.hpp"
#include "sandboxd/core/result.hpp"

// Handlers of admin_routes() that stand in files of their own, with their schemas.
namespace sandboxd::api {

extern const Schema kTenantSchema;
extern const Schema kTenantListSchema;
extern const Schema kPutTenantSchema;
[[nodiscard]] asio::awaitable<Result<void>> list_tenants(Exchange& exchange);
[[nodiscard]] asio::awaitable<Result<void>> get_tenant(Exchange& exchange);
[[nodiscard]] asio::awaitable<Result<void>> put_tenant(Exchange& exchange);

// Ceilings from an object that satisfies the schema of `limits` in kPutTenantSchema; what it does not name stays as in `base`.
[[nodiscard]] Result<policies::TenantLimits> parse_ceilings(const nlohmann::json& value, policies::TenantLimits base);
[[nodiscard]] nlohmann::json ceilings_json(const policies::TenantLimits& ceilings);

extern const Schema kKeyListSchema;
extern const Schema kNewKeySchema;      // what a POST asks for
extern const Schema kKeyCreatedSchema;  // and what it answers, with the secret
[[nodiscard]] asio::awaitable<Result<void>> list_keys(Exchange& exchange);
[[nodiscard]] asio::awaitable<Result<void>> create_key(Exchange& exchange);
[[nodiscard]] asio::awaitable<Result<void>> revoke_key(Exchange& exchange);

extern const Schema kCordonedSchema;
extern const Schema kDrainSchema;
extern const Schema kDrainedSchema;
[[nodiscard]] asio::awaitable<Result<void>> cordon_node(Exchange& exchange);
[[nodiscard]] asio::awaitable<Result<void>> uncordon_node(Exchange& exchange);
// Answers when no exec runs or when the time is over. A client that leaves ends the wait, not the cordon.
[[nodiscard]] asio::awaitable<Result<void>> drain_node(Exchange& exchange);

}  // namespace sandboxd::api
