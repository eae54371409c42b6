#include "api/sandbox_request.hpp"

#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "api/errors.hpp"
#include "api/json.hpp"
#include "api/sandbox_ref.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 2> kOnTimeout{"kill", "pause"};
constexpr double kSecondsMax = 1e9;  // the tenant's ceiling is the real one
constexpr double kMetadataEntries = 64;
constexpr std::size_t kMetadataBytes = 16 * 1024;  // kept in memory for as long as the sandbox lives

constexpr Field kLimitsField{.name = "limits", .type = Type::object, .description = "What it may use.", .object = &kLimitsSchema};
constexpr Field kMetadataField{.name = "metadata", .type = Type::string_map,
                               .description = "The caller's own: at most 64 pairs, 16 KiB. Lists can be filtered by it.", .max = kMetadataEntries};
constexpr Field kTimeoutField{.name = "timeout_s", .type = Type::integer,
                              .description = "Seconds to live after the last use; the time does not run while a program does.", .min = 1,
                              .max = kSecondsMax, .default_text = "300"};
constexpr Field kOnTimeoutField{.name = "on_timeout", .description = "What happens then.", .values = kOnTimeout, .default_text = "kill"};

constexpr std::array kCreateFields{
    Field{.name = "template", .description = "What it is made from; GET /v1/templates lists them.", .min = 1, .max = 128, .default_text = "host"},
    kLimitsField,
    kProfileField,
    Field{.name = "network", .type = Type::any, .description = "What it can reach: \"none\" or {\"mode\": \"none\"}.", .default_text = "\"none\""},
    Field{.name = "env", .type = Type::string_map, .description = "Variables of every program in it; at most 128 KiB.", .max = 1024},
    kMetadataField,
    kTimeoutField,
    kOnTimeoutField,
    Field{.name = "id", .description = "Chosen by the caller: creating it again with the same values answers the same sandbox.",
          .pattern = "^[a-z0-9]{8,40}$"},
    Field{.name = "provisional", .type = Type::boolean, .description = "Removed after 10 s unless it is used or changed before.",
          .default_text = "false"},
    Field{.name = "gpu", .type = Type::any, .description = "Not in this build: refused."},
    Field{.name = "budget", .type = Type::any, .description = "Not in this build: refused."},
};

constexpr std::array kUpdateFields{
    kTimeoutField,
    kOnTimeoutField,
    Field{.name = "metadata", .type = Type::string_map, .description = "Replaces all of it: at most 64 pairs, 16 KiB.", .max = kMetadataEntries},
    Field{.name = "limits", .type = Type::object, .description = "Those that are named change.", .object = &kLimitsSchema},
};

Error not_in_this_build(const char* field, const char* why) {
    return Error{Errc::incompatible, field, why}.fact("field", std::string{field});
}

Result<std::map<std::string, std::string>> parse_metadata(const json& value) {
    auto metadata = value.get<std::map<std::string, std::string>>();
    std::size_t size = 0;
    for (const auto& [name, text] : metadata) size += name.size() + text.size();
    if (size > kMetadataBytes) {
        return field_error("metadata", "at most " + std::to_string(kMetadataBytes) + " bytes of names and values", std::to_string(size) + " bytes");
    }
    return metadata;
}

// An id of this daemon's own making says which node made it; a caller can't choose such a one.
Result<SandboxId> parse_chosen_id(const std::string& text) {
    constexpr NodeIdentity kNowhere{};
    const auto id = parse_sandbox_id(text, kNowhere);
    if (!id && !id.error().is(Errc::node_lost)) return field_error("id", "^[a-z0-9]{8,40}$", text);
    if (decode_id(text)) return field_error("id", "an id that is not shaped like a generated one", text);
    return *id;
}

ledger::OnTimeout parse_on_timeout(const json& value) {
    return value == "pause" ? ledger::OnTimeout::pause : ledger::OnTimeout::kill;
}

Result<void> check_timeout(std::uint64_t asked, const policies::TenantLimits& ceiling) {
    if (asked <= ceiling.max_timeout_s) return {};
    std::string why = "timeout_s: asked for " + std::to_string(asked) + ", this tenant may have " + std::to_string(ceiling.max_timeout_s);
    return Error{Errc::limit_exceeded, "limits", std::move(why)}
        .fact("limit", std::string{"timeout_s"})
        .fact("asked", static_cast<std::int64_t>(asked))
        .fact("allowed", static_cast<std::int64_t>(ceiling.max_timeout_s));
}

}  // namespace

constexpr Schema kCreateSchema{"SandboxCreate", kCreateFields};
constexpr Schema kUpdateSchema{"SandboxUpdate", kUpdateFields};

Result<engine::CreateRequest> parse_create(const json& body, const policies::TenantLimits& ceiling) {
    if (body.contains("gpu")) return not_in_this_build("gpu", "this build has no GPUs for sandboxes");
    if (body.contains("budget")) return not_in_this_build("budget", "this build has no budgets; GET /v1/usage says what a sandbox costs");
    SBX_TRY(engine::CreateRequest request, parse_shape(body, ceiling));
    if (body.contains("id")) {
        SBX_TRY(request.id, parse_chosen_id(body["id"].get_ref<const std::string&>()));
    }
    if (body.contains("env")) request.env = body["env"].get<std::map<std::string, std::string>>();
    if (body.contains("metadata")) {
        SBX_TRY(request.metadata, parse_metadata(body["metadata"]));
    }
    request.timeout_s = std::min(request.timeout_s, ceiling.max_timeout_s);
    if (body.contains("timeout_s")) request.timeout_s = body["timeout_s"].get<std::uint64_t>();
    SBX_CHECK(check_timeout(request.timeout_s, ceiling));
    if (body.contains("on_timeout")) request.on_timeout = parse_on_timeout(body["on_timeout"]);
    request.provisional = body.value("provisional", false);
    return request;
}

Result<engine::SandboxUpdate> parse_update(const json& body, const policies::TenantLimits& ceiling, const policies::Limits& current) {
    engine::SandboxUpdate update;
    if (body.contains("timeout_s")) {
        update.timeout_s = body["timeout_s"].get<std::uint64_t>();
        SBX_CHECK(check_timeout(*update.timeout_s, ceiling));
    }
    if (body.contains("on_timeout")) update.on_timeout = parse_on_timeout(body["on_timeout"]);
    if (body.contains("metadata")) {
        SBX_TRY(update.metadata, parse_metadata(body["metadata"]));
    }
    if (body.contains("limits")) {
        SBX_TRY(update.limits, parse_limits(body["limits"], ceiling, current));
    }
    return update;
}

}  // namespace sandboxd::api
