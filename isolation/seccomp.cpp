#include "isolation/seccomp.hpp"

#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "isolation/seccomp_profile.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::isolation {

namespace {

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

Result<std::string> names_program(const SeccompProfile& profile) {
    const std::uint32_t otherwise = errno_action(profile.default_error);
    SBX_TRY(const Filter filter, new_filter(otherwise));
    for (const std::string& name : profile.allow) SBX_CHECK(add(filter, SCMP_ACT_ALLOW, name, {}));
    for (const SeccompProfile::Refused& refused : profile.refused) {
        const std::uint32_t action = errno_action(refused.error);
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

Result<void> add_argument_rule(const Filter& filter, const SeccompArgumentRule& rule) {
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
        SBX_CHECK(add(filter, errno_action(rule.error), rule.syscall, row));
    return {};
}

Result<std::string> arguments_program(const SeccompProfile& profile) {
    SBX_TRY(const Filter filter, new_filter(SCMP_ACT_ALLOW));
    for (const SeccompArgumentRule& rule : profile.arguments)
        SBX_CHECK(add_argument_rule(filter, rule));
    return program_of(filter);
}

}  // namespace

Result<SeccompFilters> compile_seccomp(const std::string& profile_json) {
    SBX_TRY(const SeccompProfile profile, parse_seccomp_profile(profile_json));
    SeccompFilters out;
    SBX_TRY(out.names, names_program(profile));
    SBX_TRY(out.arguments, arguments_program(profile));
    return out;
}

}  // namespace sandboxd::isolation
