#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "api/admin_handlers.hpp"
#include "api/errors.hpp"
#include "api/json.hpp"
#include "api/paging.hpp"
#include "api/request_body.hpp"
#include "api/sandbox_ref.hpp"
#include "sandboxd/engine/engine.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr double kMegabytesMax = 1 << 30;
constexpr double kSecondsMax = 366.0 * 24 * 3600;

constexpr std::array kCeilingFields{
    Field{.name = "per_sandbox", .type = Type::object, .description = "What one sandbox may have.", .object = &kLimitsSchema},
    Field{.name = "sandboxes", .type = Type::integer, .description = "Living ones.", .min = 0, .max = 1'000'000},
    Field{.name = "cpus", .type = Type::number, .description = "Cores of all living sandboxes together.", .min = 0, .max = 1'000'000},
    Field{.name = "memory_mb", .type = Type::integer, .description = "MiB of all living sandboxes together.", .min = 0, .max = kMegabytesMax},
    Field{.name = "creates_per_second", .type = Type::integer, .description = "With a burst of twice that.", .min = 1, .max = 100'000},
    Field{.name = "max_timeout_s", .type = Type::integer, .description = "The longest time to live after the last use.", .min = 1,
          .max = kSecondsMax},
    Field{.name = "max_exec_ms", .type = Type::integer, .description = "The longest time of one program.", .min = 1, .max = kSecondsMax * 1000},
    Field{.name = "allow_root", .type = Type::boolean, .description = "Programs may run as the sandbox's root."},
    Field{.name = "profile", .description = "The widest system call profile: strict, default or debug.", .values = kProfileNames},
};
constexpr Schema kCeilingSchema{"TenantLimits", kCeilingFields};

constexpr std::array kTenantFields{
    Field{.name = "id", .required = true, .description = "Its name."},
    Field{.name = "created_at", .required = true, .description = "RFC 3339, UTC."},
    Field{.name = "limits", .type = Type::object, .required = true, .description = "Its ceilings.", .object = &kCeilingSchema},
};

constexpr std::array kPutFields{
    Field{.name = "limits", .type = Type::object, .description = "Those that are named change; a new tenant has the defaults for the rest.",
          .object = &kCeilingSchema},
};

constexpr std::array kListFields{
    Field{.name = "tenants", .type = Type::object_array, .required = true, .description = "By name.", .object = &kTenantSchema},
    kNextCursorField,
};

json tenant_json(const ledger::TenantRecord& tenant) {
    return {{"id", tenant.id.str()}, {"created_at", to_rfc3339(tenant.created)}, {"limits", ceilings_json(tenant.limits)}};
}

Result<TenantId> named_tenant(const Exchange& exchange) {
    auto id = parse_tenant_id(exchange.param("tenant"));
    if (!id) return field_error("tenant", "^[a-z0-9][a-z0-9_-]{0,39}$", exchange.param("tenant"));
    return id;
}

// 0.5 -> 500, exactly.
Result<std::uint64_t> parse_cores(const json& value) {
    const double milli = value.get<double>() * 1000;
    const double whole = std::round(milli);
    if (std::abs(milli - whole) > 1e-6) return field_error("limits.cpus", "a number with at most three decimals", value.dump());
    return static_cast<std::uint64_t>(whole);
}

}  // namespace

constexpr Schema kTenantSchema{"Tenant", kTenantFields, true};
constexpr Schema kTenantListSchema{"TenantList", kListFields, true};
constexpr Schema kPutTenantSchema{"TenantPut", kPutFields};

Result<policies::TenantLimits> parse_ceilings(const json& value, policies::TenantLimits base) {
    policies::TenantLimits out = base;
    if (value.contains("per_sandbox")) {
        SBX_TRY(out.per_sandbox, parse_plain_limits(value["per_sandbox"], base.per_sandbox));
    }
    if (value.contains("cpus")) {
        SBX_TRY(out.cpu_milli, parse_cores(value["cpus"]));
    }
    if (value.contains("memory_mb")) out.memory_bytes = value["memory_mb"].get<std::uint64_t>() * kMiB;
    out.sandboxes = value.value("sandboxes", out.sandboxes);
    out.creates_per_second = value.value("creates_per_second", out.creates_per_second);
    out.max_timeout_s = value.value("max_timeout_s", out.max_timeout_s);
    out.max_exec_ms = value.value("max_exec_ms", out.max_exec_ms);
    if (value.contains("profile")) {
        out.profile = policies::parse_profile(value["profile"].get_ref<const std::string&>()).value_or(out.profile);
    }
    out.allow_root = value.value("allow_root", out.allow_root);
    return out;
}

json ceilings_json(const policies::TenantLimits& of) {
    const bool whole = of.cpu_milli % 1000 == 0;
    return {
        {"per_sandbox", limits_json(of.per_sandbox)},
        {"sandboxes", of.sandboxes},
        {"cpus", whole ? json(of.cpu_milli / 1000) : json(static_cast<double>(of.cpu_milli) / 1000.0)},
        {"memory_mb", of.memory_bytes / kMiB},
        {"creates_per_second", of.creates_per_second},
        {"max_timeout_s", of.max_timeout_s},
        {"max_exec_ms", of.max_exec_ms},
        {"allow_root", of.allow_root},
        {"profile", policies::to_string(of.profile)},
    };
}

asio::awaitable<Result<void>> list_tenants(Exchange& exchange) {
    SBX_CO_TRY(const std::size_t limit, page_limit(exchange));
    const std::string after = exchange.query("cursor").value_or("");
    if (!after.empty() && !parse_tenant_id(after)) co_return cursor_error(after);
    auto tenants = exchange.engine().tenants();
    std::sort(tenants.begin(), tenants.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    auto next = std::partition_point(tenants.begin(), tenants.end(), [&](const auto& one) { return one.id.str() <= after; });
    json items = json::array();
    for (; next != tenants.end() && items.size() < limit; ++next) items.push_back(tenant_json(*next));
    json page = json::object();
    if (next != tenants.end()) page["next_cursor"] = items.back()["id"];
    page["tenants"] = std::move(items);
    Response response = json_response(200, page);
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> get_tenant(Exchange& exchange) {
    SBX_CO_TRY(const TenantId id, named_tenant(exchange));
    const auto tenant = exchange.engine().tenant(id);
    if (!tenant) co_return Error{Errc::not_found, "tenant", id.str() + " does not exist"};
    Response response = json_response(200, tenant_json(*tenant));
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> put_tenant(Exchange& exchange) {
    SBX_CO_TRY(const TenantId id, named_tenant(exchange));
    SBX_CO_TRY(const json body, co_await read_json(exchange, kPutTenantSchema));
    ledger::TenantRecord tenant;
    tenant.id = id;
    if (const auto known = exchange.engine().tenant(id)) tenant = *known;
    if (body.contains("limits")) {
        SBX_CO_TRY(tenant.limits, parse_ceilings(body["limits"], tenant.limits));
    }
    SBX_CO_CHECK(co_await exchange.engine().put_tenant(std::move(tenant)));
    co_return co_await get_tenant(exchange);
}

}  // namespace sandboxd::api
