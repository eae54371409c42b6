#include "isolation/seccomp.hpp"

#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::isolation {

namespace {

using nlohmann::json;
using Filter = std::unique_ptr<void, void (*)(scmp_filter_ctx)>;

Error bad(std::string detail) { return Error{Errc::invalid_argument, "seccomp profile", std::move(detail)}; }

// Calls that libseccomp 2.5.4 (Debian 12) has no name for; numbers above 424 are the same on every architecture.
const std::map<std::string, int, std::less<>> kNewCalls = {
    {"cachestat", 451}, {"fchmodat2", 452}, {"map_shadow_stack", 453}, {"futex_wake", 454}, {"futex_wait", 455}, {"futex_requeue", 456},
    {"statmount", 457}, {"listmount", 458}, {"mseal", 462},            {"setxattrat", 463}, {"getxattrat", 464}, {"listxattrat", 465},
    {"removexattrat", 466}, {"set_mempolicy_home_node", 450}, {"uretprobe", 335}};

Result<int> number_of(const std::string& name) {
    const int number = ::seccomp_syscall_resolve_name(name.c_str());
    if (number != __NR_SCMP_ERROR) return number;
    const auto found = kNewCalls.find(name);
    if (found == kNewCalls.end()) return bad("unknown system call " + name);
    return found->second;
}

Result<std::uint32_t> action_of(const std::string& name) {
    static const std::map<std::string, int, std::less<>> kErrors = {
        {"OK", 0}, {"EPERM", EPERM}, {"ENOSYS", ENOSYS}, {"EINVAL", EINVAL}, {"EACCES", EACCES}, {"EAFNOSUPPORT", EAFNOSUPPORT},
        {"EPROTONOSUPPORT", EPROTONOSUPPORT}, {"ENOPROTOOPT", ENOPROTOOPT}, {"EOPNOTSUPP", EOPNOTSUPP}};
    const auto found = kErrors.find(name);
    if (found == kErrors.end()) return bad("unknown errno " + name);
    return SCMP_ACT_ERRNO(static_cast<std::uint32_t>(found->second));
}

Result<Filter> new_filter(std::uint32_t default_action) {
    Filter filter{::seccomp_init(default_action), ::seccomp_release};
    if (!filter) return Error{Errc::internal, "seccomp_init"};
    // Another architecture's numbers mean other calls (32-bit socketcall would pass every socket rule).
    int rc = ::seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    // A binary tree over the numbers: the allow-list is long and every call passes through it.
    if (rc == 0) rc = ::seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (rc < 0) return errno_error(-rc, "seccomp_attr_set");
    return filter;
}

Result<std::string> program_of(const Filter& filter) {
    const Fd memory{::memfd_create("bpf", MFD_CLOEXEC)};
    if (!memory.valid()) return errno_error("memfd_create");
    const int rc = ::seccomp_export_bpf(filter.get(), memory.get());
    if (rc < 0) return errno_error(-rc, "seccomp_export_bpf");
    if (::lseek(memory.get(), 0, SEEK_SET) < 0) return errno_error("lseek");
    std::string out;
    std::array<std::byte, 4096> buffer;
    for (;;) {
        SBX_TRY(const std::size_t n, sys::read_some(memory.get(), buffer));
        if (n == 0) return out;
        out.append(reinterpret_cast<const char*>(buffer.data()), n);
    }
}

Result<void> add(const Filter& filter, std::uint32_t action, int number, std::span<const scmp_arg_cmp> conditions) {
    const int rc = ::seccomp_rule_add_array(filter.get(), action, number, static_cast<unsigned>(conditions.size()), conditions.data());
    if (rc < 0) return errno_error(-rc, "seccomp_rule_add", "system call " + std::to_string(number));
    return {};
}

Result<std::vector<std::string>> strings(const json& value, const std::string& where) {
    if (!value.is_array()) return bad(where + " must be a list of names");
    std::vector<std::string> out;
    for (const json& item : value) {
        if (!item.is_string()) return bad(where + " must be a list of names");
        out.push_back(item.get<std::string>());
    }
    return out;
}

Result<std::string> names_program(const json& profile) {
    SBX_TRY(const std::uint32_t otherwise, action_of(profile.value("default_errno", std::string{})));
    SBX_TRY(const Filter filter, new_filter(otherwise));
    SBX_TRY(const auto allowed, strings(profile.value("allow", json{}), "allow"));
    for (const std::string& name : allowed) {
        SBX_TRY(const int number, number_of(name));
        SBX_CHECK(add(filter, SCMP_ACT_ALLOW, number, {}));
    }
    const json refused = profile.value("errno", json::object());
    for (const auto& [error, names] : refused.items()) {
        SBX_TRY(const std::uint32_t action, action_of(error));
        SBX_TRY(const auto list, strings(names, "errno." + error));
        for (const std::string& name : list) {
            SBX_TRY(const int number, number_of(name));
            if (action != otherwise) SBX_CHECK(add(filter, action, number, {}));
        }
    }
    return program_of(filter);
}

// Every comparison is masked to 32 bits: the kernel truncates most arguments, and ioctl(fd, 0x100005412) is TIOCSTI to it
// (CVE-2019-10063).
Result<scmp_arg_cmp> condition(const json& value) {
    if (!value.is_object()) return bad("a condition must be an object");
    const auto number = [&](const char* key, std::uint64_t most) -> Result<std::uint64_t> {
        const auto found = value.find(key);
        if (found == value.end() || !found->is_number_unsigned() || found->get<std::uint64_t>() > most) return bad(std::string{key} + " is missing or out of range");
        return found->get<std::uint64_t>();
    };
    SBX_TRY(const std::uint64_t arg, number("arg", 5));
    SBX_TRY(const std::uint64_t mask, number("mask", 0xffffffffU));
    SBX_TRY(const std::uint64_t datum, number("value", 0xffffffffU));
    const std::string op = value.value("op", std::string{});
    const auto position = static_cast<unsigned>(arg);
    if (op == "eq") return scmp_arg_cmp{position, SCMP_CMP_MASKED_EQ, mask, datum};
    return bad("unknown op " + op);
}

// What a rule says in terms that libseccomp can mask: "ne" and "gt" have no masked form there, so they become the set of
// bit tests that is true for exactly the same 32-bit values.
Result<std::vector<std::vector<scmp_arg_cmp>>> alternatives(const json& value) {
    const std::string op = value.is_object() ? value.value("op", std::string{}) : std::string{};
    if (op == "eq") {
        SBX_TRY(const scmp_arg_cmp one, condition(value));
        return std::vector<std::vector<scmp_arg_cmp>>{{one}};
    }
    json as_eq = value;
    as_eq["op"] = "eq";
    SBX_TRY(const scmp_arg_cmp base, condition(as_eq));
    if (base.datum_a != 0xffffffffU) return bad(op + " takes the whole mask");
    const std::uint64_t than = base.datum_b;
    std::vector<std::vector<scmp_arg_cmp>> out;
    for (unsigned bit = 0; bit < 32; ++bit) {
        const std::uint64_t one = 1ULL << bit;
        if (op == "ne") {
            // Differs in this bit.
            out.push_back({scmp_arg_cmp{base.arg, SCMP_CMP_MASKED_EQ, one, (than & one) ^ one}});
        } else if (op == "gt") {
            // Equal above this bit, and 1 here where the bound has 0.
            if ((than & one) != 0) continue;
            const std::uint64_t from_here = 0xffffffffU & ~(one - 1);
            out.push_back({scmp_arg_cmp{base.arg, SCMP_CMP_MASKED_EQ, from_here, (than & from_here) | one}});
        } else {
            return bad("unknown op " + op);
        }
    }
    return out;
}

// Adds a condition to a conjunction. libseccomp takes one condition for each argument: two on the same one are joined.
// False when no value satisfies both.
bool merge(std::vector<scmp_arg_cmp>& row, const scmp_arg_cmp& condition) {
    for (scmp_arg_cmp& present : row) {
        if (present.arg != condition.arg) continue;
        const std::uint64_t common = present.datum_a & condition.datum_a;
        if ((present.datum_b & common) != (condition.datum_b & common)) return false;
        present.datum_b |= condition.datum_b;
        present.datum_a |= condition.datum_a;
        return true;
    }
    row.push_back(condition);
    return true;
}

Result<void> add_argument_rule(const Filter& filter, const json& rule) {
    if (!rule.is_object()) return bad("an argument rule must be an object");
    for (const auto& [key, value] : rule.items()) {
        static const std::vector<std::string> kKnown{"syscall", "arg", "mask", "op", "value", "all", "errno", "why"};
        if (std::find(kKnown.begin(), kKnown.end(), key) == kKnown.end()) return bad("unknown key " + key + " in an argument rule");
    }
    SBX_TRY(const int number, number_of(rule.value("syscall", std::string{})));
    SBX_TRY(const std::uint32_t action, action_of(rule.value("errno", std::string{})));
    const json parts = rule.contains("all") ? rule["all"] : json::array({rule});
    if (!parts.is_array() || parts.empty() || parts.size() > 2) return bad("all must hold one or two conditions");
    std::vector<std::vector<scmp_arg_cmp>> rows{{}};
    for (const json& part : parts) {
        SBX_TRY(const auto options, alternatives(part));
        std::vector<std::vector<scmp_arg_cmp>> next;
        for (const auto& row : rows) {
            for (const auto& option : options) {
                std::vector<scmp_arg_cmp> both = row;
                if (merge(both, option.front())) next.push_back(std::move(both));
            }
        }
        rows = std::move(next);
    }
    for (const auto& row : rows) SBX_CHECK(add(filter, action, number, row));
    return {};
}

Result<std::string> arguments_program(const json& profile) {
    SBX_TRY(const Filter filter, new_filter(SCMP_ACT_ALLOW));
    const json rules = profile.value("arguments", json::array());
    if (!rules.is_array()) return bad("arguments must be a list");
    for (const json& rule : rules) SBX_CHECK(add_argument_rule(filter, rule));
    return program_of(filter);
}

}  // namespace

Result<SeccompFilters> compile_seccomp(const std::string& profile_json) {
    const json profile = json::parse(profile_json, nullptr, false);
    if (!profile.is_object()) return bad("not a JSON object");
    for (const auto& [key, value] : profile.items()) {
        static const std::vector<std::string> kKnown{"name", "version", "description", "default_errno", "allow", "errno", "arguments"};
        if (std::find(kKnown.begin(), kKnown.end(), key) == kKnown.end()) return bad("unknown key " + key);
    }
    SeccompFilters out;
    SBX_TRY(out.names, names_program(profile));
    SBX_TRY(out.arguments, arguments_program(profile));
    return out;
}

}  // namespace sandboxd::isolation
