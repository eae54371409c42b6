#include <algorithm>
#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "api/errors.hpp"
#include "api/json.hpp"
#include "api/request_body.hpp"
#include "api/resource_routes.hpp"
#include "api/sandbox_list.hpp"
#include "api/sandbox_ref.hpp"
#include "api/sandbox_request.hpp"
#include "sandboxd/engine/engine.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr auto kCreateTimeout = std::chrono::seconds{30};
constexpr auto kChangeTimeout = std::chrono::seconds{30};
constexpr auto kDestroyTimeout = std::chrono::seconds{60};

Response sandbox_response(unsigned status, const engine::Sandbox& sandbox) {
    return json_response(status, sandbox_json(sandbox, ShowEnv::yes));
}

// The node has said not_found: says which template and what there is instead, if the node still answers.
asio::awaitable<Error> explain_template(Exchange& exchange, std::string name, Error refusal) {
    auto status = co_await exchange.engine().node_status();
    if (!status) co_return refusal;
    const auto& known = status->templates;
    if (std::find(known.begin(), known.end(), name) != known.end()) co_return refusal;
    std::string list;
    for (const std::string& one : known) list += (list.empty() ? "" : ", ") + one;
    const std::string shown = name.substr(0, 100);
    co_return Error{Errc::not_found, "template", "there is no \"" + shown + "\"; there is: " + list}
        .fact("field", std::string{"template"})
        .fact("expected", list)
        .fact("got", shown);
}

asio::awaitable<Result<void>> create_sandbox(Exchange& exchange) {
    SBX_CO_TRY(const json body, co_await read_json(exchange, kCreateSchema));
    SBX_CO_TRY(const policies::TenantLimits ceiling, tenant_limits(exchange));
    SBX_CO_TRY(engine::CreateRequest request, parse_create(body, ceiling));
    std::string template_name = request.template_name;
    auto made = co_await exchange.engine().create(exchange.caller().tenant, std::move(request), Deadline::after(kCreateTimeout));
    if (!made && made.error().is(Errc::not_found)) {
        co_return co_await explain_template(exchange, std::move(template_name), std::move(made).error());
    }
    if (!made) co_return std::move(made).error();
    Response response = sandbox_response(201, **made);
    response.headers.emplace_back("Location", "/v1/sandboxes/" + (*made)->record().id.str());
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> get_sandbox(Exchange& exchange) {
    SBX_CO_TRY(const engine::SandboxPtr sandbox, find_sandbox(exchange));
    co_return co_await exchange.respond(sandbox_response(200, *sandbox));
}

asio::awaitable<Result<void>> update_sandbox(Exchange& exchange) {
    SBX_CO_TRY(const engine::SandboxPtr sandbox, find_sandbox(exchange));
    SBX_CO_TRY(const json body, co_await read_json(exchange, kUpdateSchema));
    SBX_CO_TRY(const policies::TenantLimits ceiling, tenant_limits(exchange));
    SBX_CO_TRY(engine::SandboxUpdate update, parse_update(body, ceiling, sandbox->record().limits));
    SBX_CO_CHECK(co_await sandbox->update(std::move(update), Deadline::after(kChangeTimeout)));
    co_return co_await exchange.respond(sandbox_response(200, *sandbox));
}

asio::awaitable<Result<void>> delete_sandbox(Exchange& exchange) {
    auto sandbox = find_sandbox(exchange);
    // It has ended already: what the caller wants is so.
    const bool ended = !sandbox && sandbox.error().is(Errc::gone);
    if (!sandbox && !ended) co_return std::move(sandbox).error();
    if (!ended) {
        auto destroyed = co_await exchange.engine().destroy(*std::move(sandbox), "deleted", Deadline::after(kDestroyTimeout));
        if (!destroyed && !destroyed.error().is(Errc::gone)) co_return destroyed;
    }
    co_return co_await exchange.respond(no_content());
}

asio::awaitable<Result<void>> pause_sandbox(Exchange& exchange) {
    SBX_CO_TRY(const engine::SandboxPtr sandbox, find_sandbox(exchange));
    SBX_CO_CHECK(co_await read_json(exchange, kEmptySchema));
    SBX_CO_CHECK(co_await sandbox->pause(Deadline::after(kChangeTimeout)));
    co_return co_await exchange.respond(sandbox_response(200, *sandbox));
}

asio::awaitable<Result<void>> resume_sandbox(Exchange& exchange) {
    SBX_CO_TRY(const engine::SandboxPtr sandbox, find_sandbox(exchange));
    SBX_CO_CHECK(co_await read_json(exchange, kEmptySchema));
    SBX_CO_CHECK(co_await sandbox->resume(Deadline::after(kChangeTimeout)));
    co_return co_await exchange.respond(sandbox_response(200, *sandbox));
}

Error no_snapshots() { return Error{Errc::incompatible, "snapshots", "this build has no snapshots, and so no fork"}; }

asio::awaitable<Result<void>> refuse_snapshot_of(Exchange& exchange) {
    SBX_CO_CHECK(find_sandbox(exchange));
    co_return no_snapshots();
}

asio::awaitable<Result<void>> refuse_snapshots(Exchange&) { co_return no_snapshots(); }

asio::awaitable<Result<void>> refuse_volumes(Exchange&) { co_return Error{Errc::incompatible, "volumes", "this build has no volumes"}; }

constexpr std::array kRoutes{
    Route{.method = "POST", .pattern = "/v1/sandboxes", .handler = create_sandbox, .operation_id = "createSandbox",
          .summary = "Make a sandbox. Its path is in Location.", .body = &kCreateSchema, .response = &kSandboxSchema, .success = 201},
    Route{.method = "GET", .pattern = "/v1/sandboxes", .handler = list_sandboxes, .operation_id = "listSandboxes",
          .summary = "The tenant's living sandboxes, newest first.", .query = kListSandboxesQuery, .response = &kSandboxListSchema},
    Route{.method = "GET", .pattern = "/v1/sandboxes/{id}", .handler = get_sandbox, .operation_id = "getSandbox",
          .summary = "A sandbox, its state and what it has used.", .response = &kSandboxSchema},
    Route{.method = "PATCH", .pattern = "/v1/sandboxes/{id}", .handler = update_sandbox, .operation_id = "updateSandbox",
          .summary = "Change its time to live, its metadata or its limits, also while it runs.", .body = &kUpdateSchema,
          .response = &kSandboxSchema},
    Route{.method = "DELETE", .pattern = "/v1/sandboxes/{id}", .handler = delete_sandbox, .operation_id = "deleteSandbox",
          .summary = "End it: answers when none of its processes is left. 204 also for one that has ended before.", .success = 204},
    Route{.method = "POST", .pattern = "/v1/sandboxes/{id}/pause", .handler = pause_sandbox, .operation_id = "pauseSandbox",
          .summary = "Stop all of its processes where they are. They keep their memory and use no CPU.", .body = &kEmptySchema,
          .response = &kSandboxSchema},
    Route{.method = "POST", .pattern = "/v1/sandboxes/{id}/resume", .handler = resume_sandbox, .operation_id = "resumeSandbox",
          .summary = "Let a paused sandbox go on where it was.", .body = &kEmptySchema, .response = &kSandboxSchema},
    Route{.method = "POST", .pattern = "/v1/sandboxes/{id}/snapshot", .handler = refuse_snapshot_of, .operation_id = "snapshotSandbox",
          .summary = "Not in this build: refused.", .success = 409},
    Route{.method = "POST", .pattern = "/v1/sandboxes/{id}/fork", .handler = refuse_snapshot_of, .operation_id = "forkSandbox",
          .summary = "Not in this build: refused.", .success = 409},
    Route{.method = "GET", .pattern = "/v1/snapshots", .handler = refuse_snapshots, .operation_id = "listSnapshots",
          .summary = "Not in this build: refused.", .success = 409},
    Route{.method = "GET", .pattern = "/v1/volumes", .handler = refuse_volumes, .operation_id = "listVolumes",
          .summary = "Not in this build: refused.", .success = 409},
    Route{.method = "POST", .pattern = "/v1/volumes", .handler = refuse_volumes, .operation_id = "createVolume",
          .summary = "Not in this build: refused.", .success = 409},
};

}  // namespace

std::span<const Route> sandbox_routes() noexcept { return kRoutes; }

}  // namespace sandboxd::api
