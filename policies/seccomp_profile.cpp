#include "policies/seccomp_profile.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

namespace sandboxd::policies {

namespace {

using nlohmann::json;

Error bad(std::string detail) {
    return Error{Errc::invalid_argument, "seccomp profile", std::move(detail)};
}

struct NamedError {
    std::string_view name;
    int value;
};
constexpr std::array<NamedError, 9> kErrors{{{"OK", 0},
                                             {"EPERM", EPERM},
                                             {"ENOSYS", ENOSYS},
                                             {"EINVAL", EINVAL},
                                             {"EACCES", EACCES},
                                             {"EAFNOSUPPORT", EAFNOSUPPORT},
                                             {"EPROTONOSUPPORT", EPROTONOSUPPORT},
                                             {"ENOPROTOOPT", ENOPROTOOPT},
                                             {"EOPNOTSUPP", EOPNOTSUPP}}};

Result<int> error_named(const std::string& name, const std::string& where) {
    const auto found = std::find_if(kErrors.begin(), kErrors.end(),
                                    [&](const NamedError& e) { return e.name == name; });
    if (found == kErrors.end()) return bad(where + ": unknown errno " + name);
    return found->value;
}

// These answers tell a library that a feature is missing and what to use instead: most programs
// make such calls, and none of them means harm or is harmed.
bool is_probe(int error) {
    return error == 0 || error == ENOSYS || error == EINVAL || error == EOPNOTSUPP;
}

// A refusal that answers "done" is for whole calls (sync), never for a rule that guards something.
Result<int> refusal_named(const std::string& name, const std::string& where) {
    SBX_TRY(const int error, error_named(name, where));
    if (error == 0) return bad(where + ": OK refuses nothing");
    return error;
}

Result<void> check_keys(const json& object, std::initializer_list<std::string_view> known,
                        const std::string& where) {
    if (!object.is_object()) return bad(where + " must be an object");
    for (const auto& [key, value] : object.items()) {
        if (std::find(known.begin(), known.end(), key) == known.end())
            return bad(where + ": unknown key " + key);
    }
    return {};
}

Result<std::string> text_at(const json& object, const char* key, const std::string& where) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_string())
        return bad(where + "." + key + " must be a text");
    return found->get<std::string>();
}

Result<std::uint32_t> number_at(const json& object, const char* key, std::uint32_t most,
                                const std::string& where) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_number_unsigned() ||
        found->get<std::uint64_t>() > most) {
        return bad(where + "." + key + " must be a number from 0 to " + std::to_string(most));
    }
    return found->get<std::uint32_t>();
}

Result<bool> flag_at(const json& object, const char* key, const std::string& where) {
    const auto found = object.find(key);
    if (found == object.end()) return false;
    if (!found->is_boolean()) return bad(where + "." + key + " must be true or false");
    return found->get<bool>();
}

Result<std::vector<std::string>> names_in(const json& list, const std::string& where) {
    if (!list.is_array() || list.empty()) return bad(where + " must be a list of names");
    std::vector<std::string> out;
    for (const json& item : list) {
        if (!item.is_string() || item.get_ref<const std::string&>().empty()) {
            return bad(where + " must be a list of names");
        }
        out.push_back(item.get<std::string>());
    }
    return out;
}

Result<SeccompCondition> condition_of(const json& object, const std::string& where) {
    SeccompCondition out;
    SBX_TRY(out.arg, number_at(object, "arg", 5, where));
    SBX_TRY(out.mask, number_at(object, "mask", UINT32_MAX, where));
    SBX_TRY(out.value, number_at(object, "value", UINT32_MAX, where));
    SBX_TRY(const std::string op, text_at(object, "op", where));
    if (op == "eq") {
        out.op = SeccompCondition::Op::eq;
    } else if (op == "ne") {
        out.op = SeccompCondition::Op::ne;
    } else if (op == "gt") {
        out.op = SeccompCondition::Op::gt;
    } else {
        return bad(where + ": unknown op " + op);
    }
    if (out.mask == 0) return bad(where + ".mask is empty");
    if ((out.value & ~out.mask) != 0)
        return bad(where + ".value has bits outside of the mask: it never matches");
    if (out.op != SeccompCondition::Op::eq && out.mask != UINT32_MAX)
        return bad(where + ": " + op + " takes the whole mask");
    return out;
}

Result<SeccompArgumentRule> argument_rule_of(const json& object, const std::string& where) {
    const bool several = object.is_object() && object.contains("all");
    if (several) {
        SBX_CHECK(check_keys(object, {"syscall", "all", "errno", "why", "silent"}, where));
    } else {
        SBX_CHECK(
            check_keys(object, {"syscall", "arg", "mask", "op", "value", "errno", "why", "silent"}, where));
    }
    SeccompArgumentRule out;
    SBX_TRY(out.syscall, text_at(object, "syscall", where));
    SBX_TRY(out.why, text_at(object, "why", where));
    SBX_TRY(const std::string error, text_at(object, "errno", where));
    SBX_TRY(out.error, refusal_named(error, where));
    SBX_TRY(const bool silent, flag_at(object, "silent", where));
    out.noted = !silent && !is_probe(out.error);
    if (!several) {
        SBX_TRY(SeccompCondition only, condition_of(object, where));
        out.all.push_back(only);
        return out;
    }
    const json& parts = object["all"];
    if (!parts.is_array() || parts.empty() || parts.size() > 2)
        return bad(where + ".all must hold one or two conditions");
    for (const json& part : parts) {
        SBX_CHECK(check_keys(part, {"arg", "mask", "op", "value"}, where + ".all"));
        SBX_TRY(SeccompCondition one, condition_of(part, where + ".all"));
        out.all.push_back(one);
    }
    return out;
}

Result<void> read_names(const json& profile, SeccompProfile& out) {
    SBX_TRY(out.allow, names_in(profile.value("allow", json{}), "allow"));
    std::set<std::string> seen;
    for (const std::string& name : out.allow) {
        if (!seen.insert(name).second) return bad(name + " stands twice");
    }
    const json lists = profile.value("errno", json::object());
    if (!lists.is_object()) return bad("errno must be an object");
    for (const auto& [key, list] : lists.items()) {
        const std::string where = "errno." + key;
        SBX_TRY(const int error, error_named(key, where));
        SBX_TRY(const std::vector<std::string> names, names_in(list, where));
        for (const std::string& name : names) {
            if (!seen.insert(name).second) return bad(name + " stands twice");
            out.refused.push_back({name, error, !is_probe(error)});
        }
    }
    return {};
}

Result<void> read_silent(const json& profile, SeccompProfile& out) {
    const auto list = profile.find("silent");
    if (list == profile.end()) return {};
    SBX_TRY(const std::vector<std::string> names, names_in(*list, "silent"));
    for (const std::string& name : names) {
        const auto refused = std::find_if(out.refused.begin(), out.refused.end(),
                                          [&](const auto& one) { return one.syscall == name; });
        if (refused == out.refused.end()) return bad("silent: " + name + " stands in no list of errno");
        if (!refused->noted) return bad("silent: " + name + " is not noted anyway, or stands twice");
        refused->noted = false;
    }
    return {};
}

Result<void> read_reasons(const json& profile, SeccompProfile& out) {
    const json reasons = profile.value("reasons", json::object());
    if (!reasons.is_object()) return bad("reasons must be an object");
    for (const auto& [name, why] : reasons.items()) {
        if (!why.is_string() || why.get_ref<const std::string&>().empty())
            return bad("reasons." + name + " must be a text");
        if (std::find(out.allow.begin(), out.allow.end(), name) == out.allow.end())
            return bad("reasons: " + name + " is not allowed");
        out.reasons.emplace(name, why.get<std::string>());
    }
    return {};
}

}  // namespace

Result<SeccompProfile> parse_seccomp_profile(const std::string& text) {
    const json profile = json::parse(text, nullptr, false);
    if (profile.is_discarded()) return bad("not JSON");
    SBX_CHECK(check_keys(
        profile, {"name", "version", "description", "default_errno", "allow", "reasons", "errno", "silent", "arguments"},
        "profile"));
    SeccompProfile out;
    SBX_TRY(out.name, text_at(profile, "name", "profile"));
    SBX_TRY(const std::uint32_t version, number_at(profile, "version", UINT32_MAX, "profile"));
    if (version != 1) return bad("version " + std::to_string(version) + " is not known");
    SBX_TRY(const std::string otherwise, text_at(profile, "default_errno", "profile"));
    SBX_TRY(out.default_error, refusal_named(otherwise, "default_errno"));
    SBX_CHECK(read_names(profile, out));
    SBX_CHECK(read_silent(profile, out));
    SBX_CHECK(read_reasons(profile, out));
    const json rules = profile.value("arguments", json::array());
    if (!rules.is_array()) return bad("arguments must be a list");
    for (std::size_t i = 0; i < rules.size(); ++i) {
        SBX_TRY(SeccompArgumentRule rule,
                argument_rule_of(rules[i], "arguments[" + std::to_string(i) + "]"));
        out.arguments.push_back(std::move(rule));
    }
    return out;
}

}  // namespace sandboxd::policies
