#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "api/exchange.hpp"
#include "api/schema.hpp"
#include "policies/limits.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/sandbox.hpp"
#include "sandboxd/ledger/usage.hpp"

// The JSON shapes that several resources share: how values are written and read. Money is a decimal string, sizes and
// times are integers; `cpus` is the only decimal number.
namespace sandboxd::api {

extern const Schema kLimitsSchema;        // {cpus, memory_mb, disk_mb, pids, output_mb}
extern const Schema kUsageSchema;         // what an answer calls `usage`
extern const Schema kSandboxSchema;
extern const Schema kErrorSchema;         // every refusal

// Invalid UTF-8 in strings becomes U+FFFD.
[[nodiscard]] Response json_response(unsigned status, const nlohmann::json& body);

[[nodiscard]] nlohmann::json usage_json(const ledger::Usage& usage);
[[nodiscard]] nlohmann::json limits_json(const policies::Limits& limits);
enum class ShowEnv { no, yes };
[[nodiscard]] nlohmann::json sandbox_json(const engine::Sandbox& sandbox, ShowEnv env);

// From an object that satisfies kLimitsSchema; what it does not name stays as in `base`. invalid_argument for what is
// below the least that works or no exact number of thousandths of a core, limit_exceeded above the tenant's ceiling.
[[nodiscard]] Result<policies::Limits> parse_limits(const nlohmann::json& value, const policies::TenantLimits& ceiling,
                                                    policies::Limits base = {});
// The same without the ceiling: for ceilings themselves.
[[nodiscard]] Result<policies::Limits> parse_plain_limits(const nlohmann::json& value, policies::Limits base);
// "none" or {"mode": "none"}. incompatible for a network that this daemon can't give yet.
[[nodiscard]] Result<std::string> parse_network(const nlohmann::json& value);

}  // namespace sandboxd::api
