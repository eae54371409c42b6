#include "policies/denial.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "policies/syscall_text.hpp"

namespace sandboxd::policies {

namespace {

using nlohmann::json;

constexpr std::uint64_t kMiB = 1 << 20;

constexpr std::array<std::string_view, 12> kMountCalls{"mount",     "umount2",       "pivot_root", "chroot",   "open_tree", "open_tree_attr",
                                                       "move_mount", "mount_setattr", "fsopen",     "fsconfig", "fsmount",   "fspick"};

bool contains(const auto& list, std::string_view name) { return std::find(list.begin(), list.end(), name) != list.end(); }

std::string kind_of(std::string_view name) {
    if (contains(kMountCalls, name)) return "mount";
    return name == "mknod" || name == "mknodat" ? "device" : "syscall";
}

// Whether the condition holds, as far as it is known.
std::optional<bool> holds(const SeccompCondition& condition, const RefusedCall& call) {
    for (const RefusedCall::Argument& argument : call.arguments) {
        if (argument.index != condition.arg) continue;
        const std::uint32_t value = argument.value & condition.mask;
        switch (condition.op) {
            case SeccompCondition::Op::eq: return value == condition.value;
            case SeccompCondition::Op::ne: return value != condition.value;
            case SeccompCondition::Op::gt: return value > condition.value;
        }
    }
    return std::nullopt;
}

const SeccompArgumentRule* rule_for(const SeccompProfile& profile, const std::string& name, const RefusedCall& call) {
    const auto found = std::find_if(profile.arguments.begin(), profile.arguments.end(), [&](const SeccompArgumentRule& rule) {
        return rule.syscall == name && std::all_of(rule.all.begin(), rule.all.end(), [&](const SeccompCondition& condition) {
                   return holds(condition, call).value_or(false);
               });
    });
    return found == profile.arguments.end() ? nullptr : &*found;
}

bool allows(const SeccompProfile& profile, const std::string& name, const RefusedCall& call) {
    return contains(profile.allow, name) && rule_for(profile, name, call) == nullptr;
}

std::string hint_of(const RefusedCall& call, const std::string& name, Profile profile, const SeccompProfiles& profiles) {
    for (std::size_t wider = static_cast<std::size_t>(profile) + 1; wider < profiles.size(); ++wider) {
        if (!allows(profiles[wider], name, call)) continue;
        return "create the sandbox with profile \"" + std::string{to_string(static_cast<Profile>(wider))} + "\"";
    }
    const SeccompArgumentRule* rule = rule_for(profiles[static_cast<std::size_t>(profile)], name, call);
    return rule == nullptr || rule->why.empty() ? "no profile allows it" : "no profile allows it: " + rule->why;
}

std::string limit_rule(std::string_view field, std::uint64_t value) { return "limits." + std::string{field} + "=" + std::to_string(value); }

}  // namespace

Denial explain(const RefusedCall& call, Profile profile, const SeccompProfiles& profiles) {
    const std::string name = syscall_name(call.number);
    Denial out;
    out.kind = kind_of(name);
    out.what = call_text(call);
    out.rule = "seccomp:" + std::string{to_string(profile)};
    out.hint = hint_of(call, name, profile, profiles);
    out.count = call.count;
    return out;
}

Denial memory_denial(const Limits& limits, std::uint64_t kills) {
    const std::uint64_t mib = limits.memory_bytes / kMiB;
    return {"memory", "memory above " + std::to_string(mib) + " MiB: the kernel killed a process", limit_rule("memory_mb", mib),
            "raise limits.memory_mb", kills};
}

Denial pids_denial(const Limits& limits, std::uint64_t forks) {
    return {"pids", "a process or thread above " + std::to_string(limits.pids) + " in the sandbox", limit_rule("pids", limits.pids),
            "raise limits.pids, or start fewer at a time", forks};
}

Denial disk_denial(const Limits& limits, std::uint64_t used_bytes) {
    const std::uint64_t mib = limits.disk_bytes / kMiB;
    return {"disk", "the disk is full: " + std::to_string(used_bytes / kMiB) + " of " + std::to_string(mib) + " MiB are used",
            limit_rule("disk_mb", mib), "raise limits.disk_mb, or delete files", 1};
}

Denial file_size_denial() {
    return {"file_limit", "a file above the program's RLIMIT_FSIZE (SIGXFSZ)", "RLIMIT_FSIZE",
            "the program or its parent has set the limit itself (ulimit -f, setrlimit): raise it there", 1};
}

Denial output_denial(std::string_view stream, std::uint64_t cap, const Limits& limits, std::uint64_t dropped_bytes) {
    const bool own = cap < limits.output_bytes;
    const std::string name{stream};
    return {"output_cap", name + " above " + std::to_string(cap) + " bytes", own ? "output_mb=" + std::to_string(cap / kMiB) : limit_rule("output_mb", cap / kMiB),
            own ? "raise output_mb of the request, or use on_output_limit \"block\"" : "raise limits.output_mb, or use on_output_limit \"block\"",
            dropped_bytes};
}

std::string to_text(const Denials& denials) {
    if (denials.empty()) return {};
    json list = json::array();
    for (const Denial& one : denials.list) list.push_back(json::array({one.kind, one.what, one.rule, one.hint, one.count}));
    return json{{"list", std::move(list)}, {"others", denials.others}}.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<Denials> parse_denials(std::string_view text) {
    Denials out;
    if (text.empty()) return out;
    const Error bad{Errc::invalid_argument, "denials", "damaged"};
    const json object = json::parse(text, nullptr, false);
    if (!object.is_object() || !object.contains("list") || !object["list"].is_array() || !object.contains("others") ||
        !object["others"].is_number_unsigned()) {
        return bad;
    }
    out.others = object["others"].get<std::uint64_t>();
    for (const json& row : object["list"]) {
        if (!row.is_array() || row.size() != 5 || !row[4].is_number_unsigned()) return bad;
        if (!std::all_of(row.begin(), row.end() - 1, [](const json& item) { return item.is_string(); })) return bad;
        out.list.push_back({row[0].get<std::string>(), row[1].get<std::string>(), row[2].get<std::string>(), row[3].get<std::string>(),
                            row[4].get<std::uint64_t>()});
    }
    return out;
}

}  // namespace sandboxd::policies
