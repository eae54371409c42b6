#include <array>

#include "sandboxd/ctl/doctor/examine.hpp"

namespace sandboxd::ctl::doctor {

namespace {

enum class Want { exactly, at_least };

struct Sysctl {
    const char* name;
    Want want;
    std::uint64_t value;
    const char* why;
};

// None of them is a wall that sandboxd stands on: its jails close these doors themselves. They are
// for the day when one of its walls has a hole, and for everything else on the host.
constexpr std::array kSysctls{
    Sysctl{"kernel.unprivileged_bpf_disabled", Want::at_least, 1, "BPF is for root"},
    Sysctl{"kernel.perf_event_paranoid", Want::at_least, 2,
           "performance counters tell secrets of neighbours"},
    Sysctl{"kernel.io_uring_disabled", Want::at_least, 1,
           "io_uring has been the way into many kernels"},
    Sysctl{"vm.unprivileged_userfaultfd", Want::exactly, 0,
           "userfaultfd makes kernel races easy to win"},
    Sysctl{"kernel.kptr_restrict", Want::at_least, 1, "kernel addresses help an attacker"},
    Sysctl{"kernel.dmesg_restrict", Want::exactly, 1, "the kernel log has addresses in it"},
    Sysctl{"kernel.yama.ptrace_scope", Want::at_least, 1,
           "one process should not read another's memory"},
    Sysctl{"dev.tty.legacy_tiocsti", Want::exactly, 0, "it types into the terminal of another"},
    Sysctl{"fs.protected_symlinks", Want::exactly, 1, "symlinks in /tmp are traps for root"},
    Sysctl{"fs.protected_hardlinks", Want::exactly, 1, "hard links are traps for root"},
    Sysctl{"fs.protected_fifos", Want::at_least, 1, "FIFOs in /tmp are traps for root"},
    Sysctl{"fs.protected_regular", Want::at_least, 1, "files in /tmp are traps for root"},
    Sysctl{"fs.suid_dumpable", Want::exactly, 0,
           "core dumps of privileged programs have secrets in them"},
    Sysctl{"kernel.sysrq", Want::exactly, 0, "the console should not command the kernel"},
};

std::string path_of(std::string name) {
    for (char& c : name) {
        if (c == '.') c = '/';
    }
    return "/proc/sys/" + name;
}

Check check(const Host& host, const Sysctl& sysctl) {
    const std::string name = std::string{"sysctl."} + sysctl.name;
    const auto value = host.number(path_of(sysctl.name));
    const std::string wanted =
        (sysctl.want == Want::at_least ? "at least " : "") + std::to_string(sysctl.value);
    if (!value) return {name, Severity::info, "this kernel has no such setting", ""};
    const bool good =
        sysctl.want == Want::at_least ? *value >= sysctl.value : *value == sysctl.value;
    if (good) return {name, Severity::ok, std::to_string(*value), ""};
    return {name, Severity::warn,
            std::to_string(*value) + ", should be " + wanted + ": " + sysctl.why,
            "sysctl -w " + std::string{sysctl.name} + '=' + std::to_string(sysctl.value) +
                " (and a file in /etc/sysctl.d)"};
}

}  // namespace

void check_sysctls(const Host& host, Checks& checks) {
    for (const Sysctl& sysctl : kSysctls) checks.push_back(check(host, sysctl));
}

}  // namespace sandboxd::ctl::doctor
