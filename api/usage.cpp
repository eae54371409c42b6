#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "api/errors.hpp"
#include "api/json.hpp"
#include "api/paging.hpp"
#include "api/resource_routes.hpp"
#include "api/schema_text.hpp"
#include "sandboxd/engine/engine.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr auto kDefaultPeriod = std::chrono::days{30};

constexpr std::array<std::string_view, 4> kGroups{"tenant", "sandbox", "exec", "day"};

constexpr std::array kUsageQuery{
    Field{.name = "from", .description = "Begin of the period, which belongs to it; RFC 3339.", .default_text = "30 days before `to`"},
    Field{.name = "to", .description = "End of the period, which does not belong to it; RFC 3339. Without it: now. Give both to page over a period "
                                       "that stands still."},
    Field{.name = "group_by", .description = "What a row stands for. Execs of a sandbox and its row \"idle\" add up to the sandbox; days are UTC.",
          .values = kGroups, .default_text = "tenant"},
    Field{.name = "sandbox", .description = "Only this sandbox, also one that is gone.", .pattern = "^[a-z0-9]{8,40}$"},
    Field{.name = "tenant", .description = "Only this tenant. Without admin rights there is no other than one's own; with them the default is all."},
    kLimitParameter,
    kCursorParameter,
};

constexpr std::array kRowFields{
    Field{.name = "tenant", .required = true, .description = "Whose it is."},
    Field{.name = "sandbox", .description = "With group_by sandbox or exec. An id that was used again has a row for each life."},
    Field{.name = "exec", .description = "With group_by exec: its id, or \"idle\" for what no exec accounts for."},
    Field{.name = "day", .description = "With group_by day: 2026-01-31."},
    Field{.name = "usage", .type = Type::object, .required = true, .description = "In the period.", .object = &kUsageSchema},
};
constexpr Schema kRowSchema{"UsageRow", kRowFields, true};

constexpr std::array kReportFields{
    Field{.name = "from", .required = true, .description = "RFC 3339, UTC."},
    Field{.name = "to", .required = true, .description = "RFC 3339, UTC."},
    Field{.name = "group_by", .required = true, .description = "What a row stands for.", .values = kGroups},
    Field{.name = "rows", .type = Type::object_array, .required = true, .description = "Sorted by what they stand for.", .object = &kRowSchema},
    Field{.name = "total", .type = Type::object, .required = true, .description = "Of all pages.", .object = &kUsageSchema},
    kNextCursorField,
};
constexpr Schema kReportSchema{"UsageReport", kReportFields, true};

constexpr std::array kTemplateFields{Field{.name = "name", .required = true, .description = "For `template` of a new sandbox."}};
constexpr Schema kTemplateSchema{"Template", kTemplateFields, true};
constexpr std::array kTemplateListFields{
    Field{.name = "templates", .type = Type::object_array, .required = true, .description = "What sandboxes can be made from.", .object = &kTemplateSchema},
};
constexpr Schema kTemplateListSchema{"TemplateList", kTemplateListFields, true};

std::string_view name_of(ledger::GroupBy group_by) {
    switch (group_by) {
        case ledger::GroupBy::tenant: return "tenant";
        case ledger::GroupBy::sandbox: return "sandbox";
        case ledger::GroupBy::exec: return "exec";
        case ledger::GroupBy::day: return "day";
    }
    return "tenant";
}

Result<ledger::GroupBy> parse_group(std::string_view text) {
    for (const auto group : {ledger::GroupBy::tenant, ledger::GroupBy::sandbox, ledger::GroupBy::exec, ledger::GroupBy::day}) {
        if (name_of(group) == text) return group;
    }
    return field_error("group_by", list_values(kGroups), text);
}

Result<WallTime> parse_time(const Exchange& exchange, std::string_view name, WallTime fallback) {
    const auto text = exchange.query(name);
    if (!text) return fallback;
    const auto time = parse_rfc3339(*text);
    if (!time) return field_error(name, "RFC 3339, for example 2026-01-31T12:00:00Z", *text);
    return *time;
}

// Ids of other nodes and of earlier epochs too: the ledger remembers longer than the node.
Result<SandboxId> parse_any_sandbox(const std::string& text) {
    const auto id = parse_sandbox_id(text, NodeIdentity{});
    if (!id && !id.error().is(Errc::node_lost)) return field_error("sandbox", "a sandbox id", text);
    return SandboxId::trusted(text);
}

Result<std::optional<TenantId>> parse_tenant(const Exchange& exchange) {
    const Caller& caller = exchange.caller();
    const auto text = exchange.query("tenant");
    if (!text) return caller.admin ? std::optional<TenantId>{} : std::optional{caller.tenant};
    const auto tenant = parse_tenant_id(*text);
    if (!tenant) return field_error("tenant", "^[a-z0-9][a-z0-9_-]{0,39}$", *text);
    if (!caller.admin && *tenant != caller.tenant) {
        return Error{Errc::forbidden, "tenant", "the usage of other tenants is for admins"}.fact("field", std::string{"tenant"});
    }
    return std::optional{*tenant};
}

Result<ledger::UsageQuery> parse_query(const Exchange& exchange) {
    ledger::UsageQuery query;
    SBX_TRY(query.tenant, parse_tenant(exchange));
    if (const auto sandbox = exchange.query("sandbox")) {
        SBX_TRY(query.sandbox, parse_any_sandbox(*sandbox));
    }
    SBX_TRY(query.to, parse_time(exchange, "to", system_clock().wall()));
    SBX_TRY(query.from, parse_time(exchange, "from", query.to - kDefaultPeriod));
    if (query.from > query.to) return field_error("from", "a time that is not behind `to`, " + to_rfc3339(query.to), to_rfc3339(query.from));
    if (const auto group = exchange.query("group_by")) {
        SBX_TRY(query.group_by, parse_group(*group));
    }
    SBX_TRY(query.limit, page_limit(exchange));
    query.cursor = exchange.query("cursor").value_or("");
    return query;
}

json row_json(const ledger::UsageRow& row) {
    json out = {{"tenant", row.tenant}, {"usage", usage_json(row.usage)}};
    if (!row.sandbox.empty()) out["sandbox"] = row.sandbox;
    if (!row.exec.empty()) out["exec"] = row.exec;
    if (!row.day.empty()) out["day"] = row.day;
    return out;
}

json report_json(const ledger::UsageQuery& query, const ledger::UsagePage& page) {
    json out = {{"from", to_rfc3339(query.from)}, {"to", to_rfc3339(query.to)}, {"group_by", name_of(query.group_by)},
                {"rows", json::array()}, {"total", usage_json(page.total)}};
    for (const ledger::UsageRow& row : page.rows) out["rows"].push_back(row_json(row));
    if (!page.next_cursor.empty()) out["next_cursor"] = page.next_cursor;
    return out;
}

asio::awaitable<Result<void>> get_usage(Exchange& exchange) {
    SBX_CO_TRY(const ledger::UsageQuery query, parse_query(exchange));
    auto page = co_await exchange.engine().usage(query);
    // All else in the question has been checked.
    if (!page && page.error().is(Errc::invalid_argument) && !query.cursor.empty()) co_return cursor_error(query.cursor);
    if (!page) co_return std::move(page).error();
    Response response = json_response(200, report_json(query, *page));
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> list_templates(Exchange& exchange) {
    SBX_CO_TRY(const control::NodeStatus status, co_await exchange.engine().node_status());
    json templates = json::array();
    for (const std::string& name : status.templates) {
        json item = json::object();
        item["name"] = name;
        templates.push_back(std::move(item));
    }
    json body = json::object();
    body["templates"] = std::move(templates);
    Response response = json_response(200, body);
    co_return co_await exchange.respond(std::move(response));
}

constexpr std::array kRoutes{
    Route{.method = "GET", .pattern = "/v1/usage", .handler = get_usage, .operation_id = "getUsage",
          .summary = "The ledger, summed over a period: integers, and money as a decimal string.", .query = kUsageQuery,
          .response = &kReportSchema},
    Route{.method = "GET", .pattern = "/v1/templates", .handler = list_templates, .operation_id = "listTemplates",
          .summary = "What sandboxes can be made from.", .response = &kTemplateListSchema},
};

}  // namespace

std::span<const Route> usage_routes() noexcept { return kRoutes; }

}  // namespace sandboxd::api
