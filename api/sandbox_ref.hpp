#pragma once

#include "api/exchange.hpp"
#include "policies/limits.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/sandbox.hpp"

namespace sandboxd::api {

// The sandbox that the pattern's {id} names. not_found for what is no id, for an unknown one and for another tenant's,
// all alike; gone for one of the tenant's own that has ended; node_lost for one that lived elsewhere.
[[nodiscard]] Result<engine::SandboxPtr> find_sandbox(Exchange& exchange);

// The caller's ceilings. internal when a key's tenant does not exist.
[[nodiscard]] Result<policies::TenantLimits> tenant_limits(Exchange& exchange);

// What a sandbox gets when its request names no limits: the product's, or the tenant's ceiling where that is less.
[[nodiscard]] policies::Limits default_limits(const policies::TenantLimits& ceiling) noexcept;

}  // namespace sandboxd::api
