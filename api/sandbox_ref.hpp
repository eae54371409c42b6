#pragma once

#include <nlohmann/json_fwd.hpp>

#include "api/exchange.hpp"
#include "policies/limits.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/engine.hpp"

namespace sandboxd::api {

// The sandbox that the pattern's {id} names. not_found for what is no id, for an unknown one and for another tenant's,
// all alike; gone for one of the tenant's own that has ended; node_lost for one that lived elsewhere.
[[nodiscard]] Result<engine::SandboxPtr> find_sandbox(Exchange& exchange);

// The caller's ceilings. internal when a key's tenant does not exist.
[[nodiscard]] Result<policies::TenantLimits> tenant_limits(Exchange& exchange);

// What a sandbox gets when its request names no limits: the product's, or the tenant's ceiling where that is less.
[[nodiscard]] policies::Limits default_limits(const policies::TenantLimits& ceiling) noexcept;

// What every request that makes a sandbox says about it: template, limits, network, and what the tenant may do inside.
[[nodiscard]] Result<engine::CreateRequest> parse_shape(const nlohmann::json& body, const policies::TenantLimits& ceiling);

}  // namespace sandboxd::api
