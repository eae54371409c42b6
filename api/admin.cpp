#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "api/admin_handlers.hpp"
#include "api/json.hpp"
#include "api/paging.hpp"
#include "api/request_body.hpp"
#include "api/resource_routes.hpp"
#include "sandboxd/engine/engine.hpp"
#include "sandboxd/version.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr std::array kIdentityFields{
    Field{.name = "region", .type = Type::integer, .required = true, .description = "Part of every id that is made here."},
    Field{.name = "cell", .type = Type::integer, .required = true, .description = "In the region."},
    Field{.name = "node", .type = Type::integer, .required = true, .description = "In the cell."},
    Field{.name = "epoch", .type = Type::integer, .required = true, .description = "Grows when the node lost its table of sandboxes."},
};
constexpr Schema kIdentitySchema{"NodeIdentity", kIdentityFields};

constexpr std::array kNodeFields{
    Field{.name = "version", .required = true, .description = "Of sandboxd."},
    Field{.name = "identity", .type = Type::object, .required = true, .description = "Where ids are made.", .object = &kIdentitySchema},
    Field{.name = "cordoned", .type = Type::boolean, .required = true, .description = "New sandboxes are refused."},
    Field{.name = "cpus", .type = Type::integer, .required = true, .description = "Of the machine."},
    Field{.name = "memory_total_bytes", .type = Type::integer, .required = true, .description = "Of the machine."},
    Field{.name = "memory_available_bytes", .type = Type::integer, .required = true, .description = "As the kernel estimates it."},
    Field{.name = "cgroup", .type = Type::integer, .required = true, .description = "Version of the cgroup hierarchy: 1 or 2."},
    Field{.name = "pool_kind", .required = true, .description = "Where the disks of sandboxes are."},
    Field{.name = "pool_total_bytes", .type = Type::integer, .required = true, .description = "Of that place."},
    Field{.name = "pool_free_bytes", .type = Type::integer, .required = true, .description = "Of that place."},
    Field{.name = "sandboxes", .type = Type::integer, .required = true, .description = "That live."},
    Field{.name = "sandboxes_max", .type = Type::integer, .required = true, .description = "That can live at one time."},
    Field{.name = "removals_pending", .type = Type::integer, .required = true, .description = "Ended ones that are not yet cleared away."},
    Field{.name = "removals_stuck", .type = Type::integer, .required = true, .description = "Those that the kernel has not let go for a minute."},
    Field{.name = "templates", .type = Type::string_array, .required = true, .description = "What sandboxes can be made from."},
};
constexpr Schema kNodeSchema{"Node", kNodeFields, true};

json identity_json(const NodeIdentity& node) {
    return {{"region", node.region}, {"cell", node.cell}, {"node", node.node}, {"epoch", node.epoch}};
}

json node_json(const control::NodeStatus& of) {
    return {
        {"cpus", of.cpus},
        {"memory_total_bytes", of.memory_total_bytes},
        {"memory_available_bytes", of.memory_available_bytes},
        {"cgroup", of.cgroup_v2 ? 2 : 1},
        {"pool_kind", of.pool_kind},
        {"pool_total_bytes", of.pool_total_bytes},
        {"pool_free_bytes", of.pool_free_bytes},
        {"sandboxes", of.sandboxes},
        {"sandboxes_max", of.sandboxes_max},
        {"removals_pending", of.removals_pending},
        {"removals_stuck", of.removals_stuck},
        {"templates", of.templates},
    };
}

asio::awaitable<Result<void>> get_node(Exchange& exchange) {
    SBX_CO_TRY(const control::NodeStatus status, co_await exchange.engine().node_status());
    json body = node_json(status);
    body["version"] = kVersionText;
    body["identity"] = identity_json(exchange.node());
    body["cordoned"] = exchange.engine().cordoned();
    Response response = json_response(200, body);
    co_return co_await exchange.respond(std::move(response));
}

constexpr std::array kPage{kLimitParameter, kCursorParameter};
constexpr std::array kKeysQuery{
    kLimitParameter,
    kCursorParameter,
    Field{.name = "tenant", .description = "Only this tenant's."},
};

constexpr std::array kRoutes{
    Route{.method = "GET", .pattern = "/v1/admin/tenants", .handler = list_tenants, .operation_id = "listTenants",
          .summary = "Tenants and their ceilings.", .auth = Auth::admin, .query = kPage, .response = &kTenantListSchema},
    Route{.method = "GET", .pattern = "/v1/admin/tenants/{tenant}", .handler = get_tenant, .operation_id = "getTenant",
          .summary = "A tenant and its ceilings.", .auth = Auth::admin, .response = &kTenantSchema},
    Route{.method = "PUT", .pattern = "/v1/admin/tenants/{tenant}", .handler = put_tenant, .operation_id = "putTenant",
          .summary = "Make a tenant, or change its ceilings. What lives already goes on as it is.", .auth = Auth::admin,
          .body = &kPutTenantSchema, .response = &kTenantSchema},
    Route{.method = "GET", .pattern = "/v1/admin/keys", .handler = list_keys, .operation_id = "listKeys",
          .summary = "Keys, without their secrets.", .auth = Auth::admin, .query = kKeysQuery, .response = &kKeyListSchema},
    Route{.method = "POST", .pattern = "/v1/admin/keys", .handler = create_key, .operation_id = "createKey",
          .summary = "Make a key. The secret is in this answer and nowhere else.", .auth = Auth::admin, .body = &kNewKeySchema,
          .response = &kKeyCreatedSchema, .success = 201, .secret = true},
    Route{.method = "DELETE", .pattern = "/v1/admin/keys/{key_id}", .handler = revoke_key, .operation_id = "revokeKey",
          .summary = "Refuse a key from now on.", .auth = Auth::admin, .success = 204},
    Route{.method = "POST", .pattern = "/v1/admin/cordon", .handler = cordon_node, .operation_id = "cordonNode",
          .summary = "Refuse new sandboxes; what lives goes on.", .auth = Auth::admin, .body = &kEmptySchema, .response = &kCordonedSchema},
    Route{.method = "POST", .pattern = "/v1/admin/uncordon", .handler = uncordon_node, .operation_id = "uncordonNode",
          .summary = "Take new sandboxes again.", .auth = Auth::admin, .body = &kEmptySchema, .response = &kCordonedSchema},
    Route{.method = "POST", .pattern = "/v1/admin/drain", .handler = drain_node, .operation_id = "drainNode",
          .summary = "Cordon, then wait until no program runs or the time is over. The cordon stays.", .auth = Auth::admin,
          .body = &kDrainSchema, .response = &kDrainedSchema},
    Route{.method = "GET", .pattern = "/v1/admin/node", .handler = get_node, .operation_id = "getNode",
          .summary = "What this machine has and what is in use.", .auth = Auth::admin, .response = &kNodeSchema},
};

}  // namespace

std::span<const Route> admin_routes() noexcept { return kRoutes; }

}  // namespace sandboxd::api
