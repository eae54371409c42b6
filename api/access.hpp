#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "api/exchange.hpp"
#include "api/route.hpp"
#include "sandboxd/engine/engine.hpp"

namespace sandboxd::api {

// What a request says about who sends it.
struct Credentials {
    std::optional<std::string_view> authorization;  // the header fields
    std::optional<std::string_view> api_key;
    std::optional<std::string_view> tenant;         // X-Sandboxd-Tenant: root on the Unix socket picks one
    bool root_peer = false;                         // uid 0, as the kernel says (SO_PEERCRED)
};

// unauthorized; forbidden when the route is for administrators and the key is not. A key that is given counts, also
// for a peer who would need none.
[[nodiscard]] Result<Caller> identify(const engine::Engine& engine, Auth needed, const Credentials& credentials, const TenantId& root_tenant);

// The client's X-Request-Id when it is one (1 to 64 of A-Z a-z 0-9 . _ -), else a new one.
[[nodiscard]] std::string request_id(std::optional<std::string_view> given, const NodeIdentity& node);

}  // namespace sandboxd::api
