#include "isolation/seccomp.hpp"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "isolation/refusal_rules.hpp"
#include "policies/seccomp_profile.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::isolation {

namespace {

using policies::SeccompArgumentRule;
using policies::SeccompCondition;
using policies::SeccompProfile;
using Filter = std::unique_ptr<void, void (*)(scmp_filter_ctx)>;
using Conjunction = std::vector<scmp_arg_cmp>;

struct NewCall {
    std::string_view name;
    int number;
};
// Calls that libseccomp 2.5.4 (Debian 12) has no name for; numbers above 424 are the same on every
// architecture.
constexpr std::array kNewCalls{NewCall{"set_mempolicy_home_node", 450},
                               NewCall{"cachestat", 451},
                               NewCall{"fchmodat2", 452},
                               NewCall{"map_shadow_stack", 453},
                               NewCall{"futex_wake", 454},
                               NewCall{"futex_wait", 455},
                               NewCall{"futex_requeue", 456},
                               NewCall{"statmount", 457},
                               NewCall{"listmount", 458},
                               NewCall{"mseal", 462},
                               NewCall{"setxattrat", 463},
                               NewCall{"getxattrat", 464},
                               NewCall{"listxattrat", 465},
                               NewCall{"removexattrat", 466},
                               NewCall{"uretprobe", 335}};

Result<int> number_of(const std::string& name) {
    const int number = ::seccomp_syscall_resolve_name(name.c_str());
    if (number != __NR_SCMP_ERROR) return number;
    const auto found = std::find_if(kNewCalls.begin(), kNewCalls.end(),
                                    [&](const NewCall& c) { return c.name == name; });
    if (found == kNewCalls.end())
        return Error{Errc::invalid_argument, "seccomp profile", "unknown system call " + name};
    return found->number;
}

std::uint32_t errno_action(int error) {
    return SCMP_ACT_ERRNO(static_cast<std::uint32_t>(error));
}

Result<Filter> new_filter(std::uint32_t default_action) {
    Filter filter{::seccomp_init(default_action), ::seccomp_release};
    if (!filter) return Error{Errc::internal, "seccomp_init"};
    // Another architecture's numbers mean other calls (32-bit socketcall would pass every socket
    // rule). On x86-64 that takes x32 along, whose numbers carry a bit of their own.
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

Result<void> add(const Filter& filter, std::uint32_t action, const std::string& name,
                 const Conjunction& conditions) {
    SBX_TRY(const int number, number_of(name));
    const int rc = ::seccomp_rule_add_array(
        filter.get(), action, number, static_cast<unsigned>(conditions.size()), conditions.data());
    if (rc < 0) return errno_error(-rc, "seccomp_rule_add", "system call " + name);
    return {};
}

std::uint32_t refusal_action(int error, bool noted, Refusals refusals) {
    return noted && refusals == Refusals::noted ? SCMP_ACT_NOTIFY : errno_action(error);
}

Result<std::string> names_program(const SeccompProfile& profile, Refusals refusals) {
    const std::uint32_t otherwise = errno_action(profile.default_error);
    SBX_TRY(const Filter filter, new_filter(otherwise));
    for (const std::string& name : profile.allow) SBX_CHECK(add(filter, SCMP_ACT_ALLOW, name, {}));
    for (const SeccompProfile::Refused& refused : profile.refused) {
        const std::uint32_t action = refusal_action(refused.error, refused.noted, refusals);
        // What is the default anyway takes no rule (libseccomp refuses one), but its name has to be
        // right.
        if (action == otherwise) {
            SBX_CHECK(number_of(refused.syscall));
        } else {
            SBX_CHECK(add(filter, action, refused.syscall, {}));
        }
    }
    return program_of(filter);
}

scmp_arg_cmp masked(unsigned arg, std::uint64_t mask, std::uint64_t value) {
    return {arg, SCMP_CMP_MASKED_EQ, mask, value};
}

// The condition as masked equalities of which any may hold. libseccomp has no masked form of "ne"
// and "gt", so they become the bit tests that are true for exactly the same 32-bit values. Every
// comparison is masked to 32 bits: the kernel truncates most arguments, and ioctl(fd, 0x100005412)
// is TIOCSTI to it (CVE-2019-10063).
std::vector<scmp_arg_cmp> alternatives(const SeccompCondition& condition) {
    if (condition.op == SeccompCondition::Op::eq)
        return {masked(condition.arg, condition.mask, condition.value)};
    std::vector<scmp_arg_cmp> out;
    for (unsigned bit = 0; bit < 32; ++bit) {
        const std::uint64_t one = 1ULL << bit;
        if (condition.op == SeccompCondition::Op::ne) {
            out.push_back(
                masked(condition.arg, one, (condition.value & one) ^ one));  // differs in this bit
        } else if ((condition.value & one) == 0) {
            const std::uint64_t from_here =
                UINT32_MAX & ~(one - 1);  // equal above, and 1 where the bound has 0
            out.push_back(masked(condition.arg, from_here, (condition.value & from_here) | one));
        }
    }
    return out;
}

// Both at once. libseccomp takes one condition for each argument: two on the same one are joined.
// Nothing when no value satisfies both.
std::optional<Conjunction> both(const Conjunction& row, const scmp_arg_cmp& more) {
    Conjunction out = row;
    for (scmp_arg_cmp& present : out) {
        if (present.arg != more.arg) continue;
        const std::uint64_t common = present.datum_a & more.datum_a;
        if ((present.datum_b & common) != (more.datum_b & common)) return std::nullopt;
        present.datum_b |= more.datum_b;
        present.datum_a |= more.datum_a;
        return out;
    }
    out.push_back(more);
    return out;
}

Result<void> add_argument_rule(const Filter& filter, const SeccompArgumentRule& rule, Refusals refusals) {
    std::vector<Conjunction> rows{{}};
    for (const SeccompCondition& condition : rule.all) {
        std::vector<Conjunction> next;
        for (const Conjunction& row : rows) {
            for (const scmp_arg_cmp& option : alternatives(condition)) {
                if (auto joined = both(row, option)) next.push_back(*std::move(joined));
            }
        }
        rows = std::move(next);
    }
    if (rows.empty())
        return Error{Errc::invalid_argument, "seccomp profile",
                     "a rule of " + rule.syscall + " never matches"};
    for (const Conjunction& row : rows)
        SBX_CHECK(add(filter, refusal_action(rule.error, rule.noted, refusals), rule.syscall, row));
    return {};
}

Result<std::string> arguments_program(const SeccompProfile& profile, Refusals refusals) {
    SBX_TRY(const Filter filter, new_filter(SCMP_ACT_ALLOW));
    for (const SeccompArgumentRule& rule : profile.arguments)
        SBX_CHECK(add_argument_rule(filter, rule, refusals));
    if (refusals == Refusals::silent) return program_of(filter);
    for (const SeccompProfile::Refused& refused : profile.refused) {
        if (refused.noted) SBX_CHECK(add(filter, SCMP_ACT_NOTIFY, refused.syscall, {}));
    }
    return program_of(filter);
}

// Arguments that say what was asked for, of calls that are refused whatever they are.
struct Telling {
    std::string_view syscall;
    std::uint8_t shown[2];
};
constexpr std::array kTelling{Telling{"ptrace", {0, kNoArgument}},    Telling{"bpf", {0, kNoArgument}},
                              Telling{"unshare", {0, kNoArgument}},   Telling{"setns", {1, kNoArgument}},
                              Telling{"keyctl", {0, kNoArgument}},    Telling{"socket", {0, 1}},
                              Telling{"mknod", {1, kNoArgument}},     Telling{"mknodat", {2, kNoArgument}}};

void show_arguments(const std::string& syscall, RefusalRule& rule) {
    for (std::size_t i = 0; i < rule.conditions; ++i) rule.shown[i] = rule.all[i].arg;
    if (rule.shown[0] == rule.shown[1]) rule.shown[1] = kNoArgument;
    if (rule.conditions > 0) return;
    for (const Telling& telling : kTelling) {
        if (telling.syscall == syscall) std::copy(std::begin(telling.shown), std::end(telling.shown), rule.shown);
    }
}

RefusalRule::Condition table_condition(const SeccompCondition& from) {
    RefusalRule::Condition out;
    out.mask = from.mask;
    out.value = from.value;
    out.arg = static_cast<std::uint8_t>(from.arg);
    out.op = from.op == SeccompCondition::Op::eq   ? RefusalRule::Op::eq
             : from.op == SeccompCondition::Op::ne ? RefusalRule::Op::ne
                                                   : RefusalRule::Op::gt;
    return out;
}

Result<void> append_rule(std::string& table, const std::string& syscall, int error, const std::vector<SeccompCondition>& all) {
    SBX_TRY(const int number, number_of(syscall));
    // Negative: a call that this architecture does not have.
    if (number < 0) return {};
    RefusalRule rule;
    rule.number = static_cast<std::uint16_t>(number);
    rule.error = static_cast<std::uint16_t>(error);
    for (const SeccompCondition& condition : all) rule.all[rule.conditions++] = table_condition(condition);
    show_arguments(syscall, rule);
    table.append(reinterpret_cast<const char*>(&rule), sizeof rule);
    return {};
}

Result<std::string> refusal_table(const SeccompProfile& profile) {
    std::string out;
    for (const SeccompArgumentRule& rule : profile.arguments) {
        if (rule.noted) SBX_CHECK(append_rule(out, rule.syscall, rule.error, rule.all));
    }
    for (const SeccompProfile::Refused& refused : profile.refused) {
        if (refused.noted) SBX_CHECK(append_rule(out, refused.syscall, refused.error, {}));
    }
    return out;
}

// Between the first filter and the program, the init's child loads the second one, hands over its listener, says what
// failed, and execs.
Result<void> check_startable(const SeccompProfile& profile) {
    for (const char* name : {"seccomp", "sendmsg", "close", "write", "execve", "exit_group"}) {
        if (std::find(profile.allow.begin(), profile.allow.end(), name) == profile.allow.end()) {
            return Error{Errc::invalid_argument, "seccomp profile",
                         "allow: " + std::string{name} + " is missing: no program could be started without it"};
        }
    }
    return {};
}

}  // namespace

Result<SeccompFilters> compile_seccomp(const std::string& profile_json, Refusals refusals) {
    SBX_TRY(const SeccompProfile profile, policies::parse_seccomp_profile(profile_json));
    SBX_CHECK(check_startable(profile));
    SeccompFilters out;
    SBX_TRY(out.names, names_program(profile, refusals));
    SBX_TRY(out.arguments, arguments_program(profile, refusals));
    if (refusals == Refusals::noted) {
        SBX_TRY(out.refusals, refusal_table(profile));
    }
    return out;
}

bool can_note_refusals() {
    bool can = false;
    // Filters belong to the thread that loads them.
    std::thread{[&can] {
        sock_filter allow{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
        const sock_fprog program{1, &allow};
        const Fd listener{static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program))};
        can = listener.valid();
    }}.join();
    return can;
}

}  // namespace sandboxd::isolation
