#include "api/sandbox_ref.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "api/json.hpp"
#include "sandboxd/engine/engine.hpp"

namespace sandboxd::api {

namespace {

// One text for all that a caller must not tell apart.
Error no_such_sandbox() { return Error{Errc::not_found, "sandbox", "no such sandbox"}; }

}  // namespace

Result<engine::SandboxPtr> find_sandbox(Exchange& exchange) {
    auto id = parse_sandbox_id(exchange.param("id"), exchange.node());
    if (!id && id.error().is(Errc::node_lost)) return std::move(id).error();
    if (!id) return no_such_sandbox();
    auto found = exchange.engine().find(exchange.caller().tenant, *id);
    if (!found && found.error().is(Errc::not_found)) return no_such_sandbox();
    return found;
}

Result<policies::TenantLimits> tenant_limits(Exchange& exchange) {
    const auto tenant = exchange.engine().tenant(exchange.caller().tenant);
    if (!tenant) return Error{Errc::internal, "tenant", exchange.caller().tenant.str() + " does not exist"};
    return tenant->limits;
}

policies::Limits default_limits(const policies::TenantLimits& ceiling) noexcept {
    const policies::Limits most = ceiling.per_sandbox;
    policies::Limits limits;
    limits.cpu_milli = std::min(limits.cpu_milli, most.cpu_milli);
    limits.memory_bytes = std::min(limits.memory_bytes, most.memory_bytes);
    limits.disk_bytes = std::min(limits.disk_bytes, most.disk_bytes);
    limits.pids = std::min(limits.pids, most.pids);
    limits.output_bytes = std::min(limits.output_bytes, most.output_bytes);
    return limits;
}

Result<engine::CreateRequest> parse_shape(const nlohmann::json& body, const policies::TenantLimits& ceiling) {
    engine::CreateRequest request;
    request.template_name = body.value("template", request.template_name);
    request.limits = default_limits(ceiling);
    if (body.contains("limits")) {
        SBX_TRY(request.limits, parse_limits(body["limits"], ceiling, request.limits));
    }
    request.profile = std::min(request.profile, ceiling.profile);
    if (body.contains("profile")) {
        // One of the names that the schema allows.
        request.profile = policies::parse_profile(body["profile"].get_ref<const std::string&>()).value_or(request.profile);
        SBX_CHECK(policies::check_profile(request.profile, ceiling.profile));
    }
    if (body.contains("network")) {
        SBX_TRY(request.network, parse_network(body["network"]));
    }
    request.allow_root = ceiling.allow_root;
    return request;
}

}  // namespace sandboxd::api
