#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "api/admin_handlers.hpp"
#include "api/json.hpp"
#include "api/sandbox_list.hpp"
#include "api/sandbox_request.hpp"

using namespace sandboxd;
using namespace sandboxd::api;
using nlohmann::json;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

bool within(const policies::Limits& limits, const policies::Limits& most) {
    return limits.cpu_milli <= most.cpu_milli && limits.memory_bytes <= most.memory_bytes && limits.disk_bytes <= most.disk_bytes &&
           limits.pids <= most.pids && limits.output_bytes <= most.output_bytes;
}

bool enough(const policies::Limits& limits) {
    const policies::Limits& least = policies::kLeastLimits;
    return limits.cpu_milli >= least.cpu_milli && limits.memory_bytes >= least.memory_bytes && limits.disk_bytes >= least.disk_bytes &&
           limits.pids >= least.pids && limits.output_bytes >= least.output_bytes;
}

// What a body asks for is within the tenant's ceilings and never below what works, and its text says the same again.
void try_create(std::string_view text) {
    const auto body = parse_json(text, kCreateSchema);
    if (!body) return;
    const auto again = parse_json(body->dump(), kCreateSchema);
    require(again && *again == *body);
    const policies::TenantLimits ceiling;
    const auto request = parse_create(*body, ceiling);
    if (!request) return;
    require(within(request->limits, ceiling.per_sandbox) && enough(request->limits));
    require(request->timeout_s >= 1 && request->timeout_s <= ceiling.max_timeout_s);
    require(request->network == "none" && request->metadata.size() <= 64);
    require(!request->id || (request->id->str().size() >= 8 && request->id->str().size() <= 40));
}

void try_update(std::string_view text) {
    const auto body = parse_json(text, kUpdateSchema);
    if (!body) return;
    const policies::TenantLimits ceiling;
    const auto update = parse_update(*body, ceiling, {});
    if (update && update->limits) require(within(*update->limits, ceiling.per_sandbox) && enough(*update->limits));
}

// Ceilings are answered in the shape in which they are set.
void try_tenant(std::string_view text) {
    const auto body = parse_json(text, kPutTenantSchema);
    if (!body || !body->contains("limits")) return;
    const auto ceilings = parse_ceilings((*body)["limits"], {});
    if (!ceilings) return;
    json limits = ceilings_json(*ceilings);
    const auto again = parse_ceilings(limits, {});
    require(again && *again == *ceilings);
}

void try_cursor(std::string_view text) {
    const auto place = read_cursor(text);
    if (!place) return;
    const auto again = read_cursor(write_cursor(*place));
    require(again && *again == *place);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text{reinterpret_cast<const char*>(data), size};
    try_create(text);
    try_update(text);
    try_tenant(text);
    try_cursor(text);
    return 0;
}
