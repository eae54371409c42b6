#include "sandboxd/ctl/answer.hpp"

#include <nlohmann/json.hpp>

#include "sandboxd/ctl/session.hpp"
#include "sandboxd/ctl/units.hpp"

namespace sandboxd::ctl {

using nlohmann::json;

std::string text_of(const json& object, std::string_view name) {
    if (!object.is_object()) return {};
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

std::uint64_t number_of(const json& object, std::string_view name) {
    if (!object.is_object()) return 0;
    const auto found = object.find(name);
    return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

std::string describe_cost(const json& usage) {
    if (!usage.is_object() || !usage.contains("cost")) return "-";
    const std::string amount = text_of(usage["cost"], "amount");
    return amount.empty() ? "-" : amount + ' ' + text_of(usage["cost"], "currency");
}

std::string describe_usage(const json& usage) {
    std::string out = describe_cost(usage);
    out += " · wall " + format_ms(number_of(usage, "wall_ms"));
    out += " · cpu " + format_ms(number_of(usage, "cpu_ms"));
    out += " · memory peak " + format_bytes(number_of(usage, "memory_peak_bytes"));
    if (const auto sent = number_of(usage, "egress_bytes"); sent > 0)
        out += " · sent " + format_bytes(sent);
    if (const auto gpu = number_of(usage, "gpu_ms"); gpu > 0) out += " · gpu " + format_ms(gpu);
    if (usage.is_object() && usage.contains("cost"))
        out += " · prices " + text_of(usage["cost"], "price_book");
    return out;
}

int exit_code_of(const json& answer) {
    const auto code = answer.find("exit_code");
    if (code == answer.end() || !code->is_number_integer()) return kOwnFailure;
    return static_cast<int>(code->get<std::int64_t>() & 255);
}

std::optional<std::string> ended_by(const json& answer) {
    const std::string status = text_of(answer, "status");
    if (status == "exited" || status == "signaled" || status == "running") return std::nullopt;
    const std::string message =
        answer.contains("error") ? text_of(answer["error"], "message") : std::string{};
    return message.empty() ? "the program ended: " + status : message;
}

std::optional<std::string> dropped_output(const json& event) {
    const auto dropped = number_of(event, "dropped");
    if (dropped == 0) return std::nullopt;
    return format_bytes(dropped) + " of " + text_of(event, "stream") +
           " were dropped: the output limit was reached";
}

}  // namespace sandboxd::ctl
