#pragma once

#include <nlohmann/json_fwd.hpp>

#include "api/schema.hpp"
#include "policies/limits.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/engine.hpp"

// What clients may say about a sandbox.
namespace sandboxd::api {

extern const Schema kCreateSchema;  // POST /v1/sandboxes
extern const Schema kUpdateSchema;  // PATCH …/{id}

// From a body that satisfies kCreateSchema. limit_exceeded above the tenant's ceilings, incompatible for what this
// daemon can't give yet (field: network, gpu, budget), invalid_argument names the field.
[[nodiscard]] Result<engine::CreateRequest> parse_create(const nlohmann::json& body, const policies::TenantLimits& ceiling);

// From a body that satisfies kUpdateSchema. Limits that it does not name stay as in `current`.
[[nodiscard]] Result<engine::SandboxUpdate> parse_update(const nlohmann::json& body, const policies::TenantLimits& ceiling,
                                                         const policies::Limits& current);

}  // namespace sandboxd::api
