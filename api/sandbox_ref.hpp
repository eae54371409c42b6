#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "api/exchange.hpp"
#include "api/schema.hpp"
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

inline constexpr std::array<std::string_view, policies::kProfiles> kProfileNames{"strict", "default", "debug"};
inline constexpr Field kProfileField{
    .name = "profile",
    .description = "Which system calls programs may make. strict: to compute and to touch files, no sockets; debug: default, and ptrace for debuggers.",
    .values = kProfileNames,
    .default_text = "default"};

// What every request that makes a sandbox says about it: template, limits, profile, network, and what the tenant may do inside.
[[nodiscard]] Result<engine::CreateRequest> parse_shape(const nlohmann::json& body, const policies::TenantLimits& ceiling);

}  // namespace sandboxd::api
