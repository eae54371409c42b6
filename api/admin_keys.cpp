#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "api/admin_handlers.hpp"
#include "api/errors.hpp"
#include "api/json.hpp"
#include "api/paging.hpp"
#include "api/request_body.hpp"
#include "sandboxd/engine/engine.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr double kLabelMax = 200;

constexpr Field kIdField{.name = "id", .required = true, .description = "For its revocation; not secret."};
constexpr Field kTenantField{.name = "tenant", .required = true, .description = "Whom it speaks for."};
constexpr Field kLabelField{.name = "label", .required = true, .description = "What it is for."};
constexpr Field kAdminField{.name = "admin", .type = Type::boolean, .required = true, .description = "It may use /v1/admin."};
constexpr Field kCreatedField{.name = "created_at", .required = true, .description = "RFC 3339, UTC."};

constexpr std::array kKeyFields{
    kIdField, kTenantField, kLabelField, kAdminField, kCreatedField,
    Field{.name = "revoked_at", .description = "Since when it is refused."},
};
constexpr Schema kKeySchema{"Key", kKeyFields, true};

constexpr std::array kKeyCreatedFields{
    kIdField, kTenantField, kLabelField, kAdminField, kCreatedField,
    Field{.name = "secret", .required = true, .description = "The key itself. Shown this once: only its hash is kept."},
};

constexpr std::array kNewKeyFields{
    kTenantField,
    Field{.name = "label", .description = "What it is for.", .max = kLabelMax},
    Field{.name = "admin", .type = Type::boolean, .description = "It may use /v1/admin.", .default_text = "false"},
};

constexpr std::array kListFields{
    Field{.name = "keys", .type = Type::object_array, .required = true, .description = "By id; revoked ones too.", .object = &kKeySchema},
    kNextCursorField,
};

json key_json(const ledger::KeyRecord& key) {
    json out = {{"id", key.id.str()}, {"tenant", key.tenant.str()}, {"label", key.label}, {"admin", key.admin}, {"created_at", to_rfc3339(key.created)}};
    if (key.revoked) out["revoked_at"] = to_rfc3339(*key.revoked);
    return out;
}

bool is_key_id(std::string_view text) {
    const auto decoded = decode_id(text);
    return decoded && decoded->kind == IdKind::key;
}

Error no_such_key() { return Error{Errc::not_found, "key", "no such key"}; }

}  // namespace

constexpr Schema kKeyListSchema{"KeyList", kListFields, true};
constexpr Schema kNewKeySchema{"KeyCreate", kNewKeyFields};
constexpr Schema kKeyCreatedSchema{"KeyCreated", kKeyCreatedFields, true};

asio::awaitable<Result<void>> list_keys(Exchange& exchange) {
    SBX_CO_TRY(const std::size_t limit, page_limit(exchange));
    const std::string after = exchange.query("cursor").value_or("");
    if (!after.empty() && !is_key_id(after)) co_return cursor_error(after);
    auto keys = exchange.engine().keys();
    const auto tenant = exchange.query("tenant");
    if (tenant) std::erase_if(keys, [&](const auto& key) { return key.tenant.str() != *tenant; });
    std::sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    auto next = std::partition_point(keys.begin(), keys.end(), [&](const auto& one) { return one.id.str() <= after; });
    json items = json::array();
    for (; next != keys.end() && items.size() < limit; ++next) items.push_back(key_json(*next));
    json page = json::object();
    if (next != keys.end()) page["next_cursor"] = items.back()["id"];
    page["keys"] = std::move(items);
    Response response = json_response(200, page);
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> create_key(Exchange& exchange) {
    SBX_CO_TRY(const json body, co_await read_json(exchange, kNewKeySchema));
    const std::string name = body["tenant"].get<std::string>();
    auto tenant = parse_tenant_id(name);
    if (!tenant) co_return field_error("tenant", "^[a-z0-9][a-z0-9_-]{0,39}$", name);
    std::string label = body.value("label", std::string{});
    // "@config" marks the configuration's own keys, which end when they leave it.
    if (label.starts_with('@')) co_return field_error("label", "a label that does not start with @", label);
    const bool admin = body.value("admin", false);
    SBX_CO_TRY(const engine::Engine::NewKey made, co_await exchange.engine().create_key(*std::move(tenant), std::move(label), admin));
    json answer = key_json(made.record);
    answer["secret"] = made.secret;
    Response response = json_response(201, answer);
    response.headers.emplace_back("Cache-Control", "no-store");
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> revoke_key(Exchange& exchange) {
    if (!is_key_id(exchange.param("key_id"))) co_return no_such_key();
    KeyId id = KeyId::trusted(std::string{exchange.param("key_id")});
    auto revoked = co_await exchange.engine().revoke_key(std::move(id));
    if (!revoked && revoked.error().is(Errc::not_found)) co_return no_such_key();
    if (!revoked) co_return revoked;
    co_return co_await exchange.respond(no_content());
}

}  // namespace sandboxd::api
