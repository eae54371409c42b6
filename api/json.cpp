#include "api/json.hpp"

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "api/errors.hpp"
#include "policies/price_book.hpp"
#include "sandboxd/core/clock.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr double kMegabytesMax = 1 << 30;  // a PiB: far below what would overflow in bytes

constexpr std::array kLimitsFields{
    Field{.name = "cpus", .type = Type::number, .description = "Cores; thousandths are the smallest step.", .min = 0.05, .max = 4096,
          .default_text = "1"},
    Field{.name = "memory_mb", .type = Type::integer, .description = "MiB of memory, without swap.", .min = 16, .max = kMegabytesMax,
          .default_text = "512"},
    Field{.name = "disk_mb", .type = Type::integer, .description = "MiB of disk.", .min = 16, .max = kMegabytesMax, .default_text = "1024"},
    Field{.name = "pids", .type = Type::integer, .description = "Processes and threads.", .min = 4, .max = 4194304, .default_text = "256"},
    Field{.name = "output_mb", .type = Type::integer, .description = "MiB kept of each output stream of a program.", .min = 1,
          .max = kMegabytesMax, .default_text = "64"},
};

constexpr std::array kCostFields{
    Field{.name = "amount", .required = true, .description = "A decimal string: money is never a float."},
    Field{.name = "currency", .required = true, .description = "ISO 4217."},
    Field{.name = "price_book", .required = true, .description = "name@version of the prices that were used."},
};
constexpr Schema kCostSchema{"Cost", kCostFields};

constexpr std::array kUsageFields{
    Field{.name = "wall_ms", .type = Type::integer, .required = true, .description = "Time that it lived or ran."},
    Field{.name = "cpu_ms", .type = Type::integer, .required = true, .description = "CPU time of all its processes."},
    Field{.name = "memory_peak_bytes", .type = Type::integer, .required = true, .description = "The most memory at one time."},
    Field{.name = "memory_mib_ms", .type = Type::integer, .required = true, .description = "Memory over time."},
    Field{.name = "disk_bytes", .type = Type::integer, .required = true, .description = "Disk in use."},
    Field{.name = "egress_bytes", .type = Type::integer, .required = true, .description = "Bytes sent to the network."},
    Field{.name = "gpu_ms", .type = Type::integer, .required = true, .description = "GPU time."},
    Field{.name = "cost", .type = Type::object, .required = true, .description = "What it costs.", .object = &kCostSchema},
};

constexpr std::array<std::string_view, 4> kStates{"running", "paused", "ending", "gone"};
constexpr std::array<std::string_view, 2> kOnTimeout{"kill", "pause"};

constexpr std::array kErrorBodyFields{
    Field{.name = "code", .required = true, .description = "A stable snake_case name of what went wrong."},
    Field{.name = "message", .required = true, .description = "What went wrong and what to change, for people and agents."},
    Field{.name = "details", .type = Type::object, .required = true,
          .description = "Facts: field, expected and got of a wrong field; limit, asked and allowed of a limit."},
};
constexpr Schema kErrorBodySchema{"ErrorBody", kErrorBodyFields, true};
constexpr std::array kErrorFields{
    Field{.name = "error", .type = Type::object, .required = true, .description = "The refusal.", .object = &kErrorBodySchema},
};

std::uint64_t ms(std::uint64_t ns) { return ns / 1'000'000; }

// 0.5 -> 500. What is not a whole number of thousandths is refused, not rounded.
Result<std::uint32_t> parse_cpus(const json& value) {
    const double milli = value.get<double>() * 1000;
    const double whole = std::round(milli);
    if (std::abs(milli - whole) > 1e-6) return field_error("limits.cpus", "a number with at most three decimals", value.dump());
    return static_cast<std::uint32_t>(whole);
}

}  // namespace

constexpr std::array kSandboxFields{
    Field{.name = "id", .required = true, .description = "Names it in every path."},
    Field{.name = "tenant", .required = true, .description = "Whose it is."},
    Field{.name = "template", .required = true, .description = "What it was made from."},
    Field{.name = "state", .required = true, .description = "What it does now.", .values = kStates},
    Field{.name = "limits", .type = Type::object, .required = true, .description = "What it may use.", .object = &kLimitsSchema},
    Field{.name = "profile", .required = true, .description = "Which system calls its programs may make: strict, default or debug."},
    Field{.name = "network", .type = Type::any, .required = true, .description = "What it can reach."},
    Field{.name = "metadata", .type = Type::string_map, .required = true, .description = "The caller's own."},
    Field{.name = "env", .type = Type::string_map, .description = "Variables of every program in it; not in lists."},
    Field{.name = "created_at", .required = true, .description = "RFC 3339, UTC."},
    Field{.name = "expires_at", .required = true, .description = "When it will be killed or paused; null while a program runs.", .nullable = true},
    Field{.name = "timeout_s", .type = Type::integer, .required = true, .description = "Seconds to live after the last use."},
    Field{.name = "on_timeout", .required = true, .description = "What happens then.", .values = kOnTimeout},
    Field{.name = "usage", .type = Type::object, .required = true, .description = "Since it was created.", .object = &kUsageSchema},
};

constexpr Schema kLimitsSchema{"Limits", kLimitsFields};
constexpr Schema kUsageSchema{"Usage", kUsageFields};
constexpr Schema kSandboxSchema{"Sandbox", kSandboxFields, true};
constexpr Schema kErrorSchema{"Error", kErrorFields};

Response json_response(unsigned status, const json& body) {
    Response response;
    response.status = status;
    response.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
    return response;
}

json usage_json(const ledger::Usage& usage) {
    const ledger::Counters& of = usage.counters;
    return {
        {"wall_ms", ms(of.wall_ns)},
        {"cpu_ms", ms(of.cpu_ns)},
        {"memory_peak_bytes", of.memory_peak_bytes},
        {"memory_mib_ms", of.memory_kib_ms / 1024},
        {"disk_bytes", of.disk_bytes},
        {"egress_bytes", of.egress_bytes},
        {"gpu_ms", ms(of.gpu_ns)},
        {"cost", {{"amount", policies::to_decimal(usage.cost)}, {"currency", usage.currency}, {"price_book", usage.price_book}}},
    };
}

json limits_json(const policies::Limits& limits) {
    const bool whole = limits.cpu_milli % 1000 == 0;
    return {
        {"cpus", whole ? json(limits.cpu_milli / 1000) : json(limits.cpu_milli / 1000.0)},
        {"memory_mb", limits.memory_bytes / kMiB},
        {"disk_mb", limits.disk_bytes / kMiB},
        {"pids", limits.pids},
        {"output_mb", limits.output_bytes / kMiB},
    };
}

json sandbox_json(const engine::Sandbox& sandbox, ShowEnv env) {
    const ledger::SandboxRecord& record = sandbox.record();
    const auto expires = sandbox.expires();
    json out = {
        {"id", record.id.str()},
        {"tenant", record.tenant.str()},
        {"template", record.template_name},
        {"state", engine::to_string(sandbox.state())},
        {"limits", limits_json(record.limits)},
        {"profile", policies::to_string(record.profile)},
        {"network", record.network},
        {"metadata", record.metadata},
        {"created_at", to_rfc3339(record.created)},
        {"expires_at", expires ? json(to_rfc3339(*expires)) : json(nullptr)},
        {"timeout_s", record.timeout_s},
        {"on_timeout", record.on_timeout == ledger::OnTimeout::pause ? "pause" : "kill"},
        {"usage", usage_json(sandbox.usage())},
    };
    if (env == ShowEnv::yes && !record.env.empty()) out["env"] = record.env;
    return out;
}

Result<policies::Limits> parse_plain_limits(const json& value, policies::Limits base) {
    policies::Limits limits = base;
    if (value.contains("cpus")) {
        SBX_TRY(limits.cpu_milli, parse_cpus(value["cpus"]));
    }
    const auto bytes = [&](const char* name, std::uint64_t& into) {
        if (value.contains(name)) into = value[name].get<std::uint64_t>() * kMiB;
    };
    bytes("memory_mb", limits.memory_bytes);
    bytes("disk_mb", limits.disk_bytes);
    bytes("output_mb", limits.output_bytes);
    if (value.contains("pids")) limits.pids = value["pids"].get<std::uint32_t>();
    return limits;
}

Result<policies::Limits> parse_limits(const json& value, const policies::TenantLimits& ceiling, policies::Limits base) {
    SBX_TRY(const policies::Limits limits, parse_plain_limits(value, base));
    SBX_CHECK(policies::check_limits(limits, ceiling));
    return limits;
}

Result<std::string> parse_network(const json& value) {
    const json* mode = &value;
    if (value.is_object()) {
        for (auto entry = value.begin(); entry != value.end(); ++entry) {
            if (entry.key() == "mode") continue;
            return Error{Errc::incompatible, "network." + entry.key(), "this daemon has no network policies yet: the only network is \"none\""}
                .fact("field", "network." + entry.key());
        }
        if (!value.contains("mode")) return field_error("network.mode", "none", "nothing: the field is required");
        mode = &value["mode"];
    }
    if (!mode->is_string()) return field_error("network", "\"none\" or {\"mode\": \"none\"}", mode->dump());
    if (*mode == "none") return std::string{"none"};
    return Error{Errc::incompatible, "network", "this daemon has no networks yet: the only one is \"none\""}
        .fact("field", "network").fact("expected", "none").fact("got", mode->get<std::string>().substr(0, 200));
}

}  // namespace sandboxd::api
