#include "api/access.hpp"

#include <algorithm>
#include <cctype>

namespace sandboxd::api {

namespace {

constexpr std::size_t kRequestIdMax = 64;

std::optional<std::string_view> bearer(std::string_view authorization) {
    constexpr std::string_view kScheme = "bearer ";
    if (authorization.size() <= kScheme.size()) return std::nullopt;
    const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
    if (!std::equal(kScheme.begin(), kScheme.end(), authorization.begin(), [&](char b, char a) { return same(a, b); })) return std::nullopt;
    std::string_view key = authorization.substr(kScheme.size());
    while (key.starts_with(' ')) key.remove_prefix(1);
    return key;
}

Result<Caller> root_caller(const engine::Engine& engine, const Credentials& credentials, const TenantId& root_tenant) {
    Caller caller;
    caller.admin = true;
    caller.tenant = root_tenant;
    if (credentials.tenant) {
        SBX_TRY(caller.tenant, parse_tenant_id(*credentials.tenant));
        if (!engine.tenant(caller.tenant)) return Error{Errc::not_found, "tenant", caller.tenant.str()};
    }
    return caller;
}

bool is_request_id(std::string_view text) {
    const auto allowed = [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-'; };
    return !text.empty() && text.size() <= kRequestIdMax && std::all_of(text.begin(), text.end(), allowed);
}

}  // namespace

Result<Caller> identify(const engine::Engine& engine, Auth needed, const Credentials& credentials, const TenantId& root_tenant) {
    if (needed == Auth::none) return Caller{};
    std::optional<std::string_view> key = credentials.api_key;
    if (credentials.authorization) {
        key = bearer(*credentials.authorization);
        if (!key) return Error{Errc::unauthorized, "authentication", "expected \"Authorization: Bearer KEY\" or \"X-API-KEY: KEY\""};
    }
    if (!key && credentials.root_peer) return root_caller(engine, credentials, root_tenant);
    if (!key) return Error{Errc::unauthorized, "authentication", "no API key: send \"Authorization: Bearer KEY\" or \"X-API-KEY: KEY\""};
    const auto record = engine.authenticate(*key);
    if (!record) return Error{Errc::unauthorized, "authentication", "this API key is unknown or was revoked"};
    if (needed == Auth::admin && !record->admin) return Error{Errc::forbidden, "authorization", "this needs an administrator's key"};
    return Caller{record->tenant, record->admin, record->id};
}

std::string request_id(std::optional<std::string_view> given, const NodeIdentity& node) {
    if (given && is_request_id(*given)) return std::string{*given};
    return generate_id(IdKind::request, node);
}

}  // namespace sandboxd::api
