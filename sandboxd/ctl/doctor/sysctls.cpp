#include <array>
#include <cstdlib>
#include <string>

#include "sandboxd/ctl/doctor/examine.hpp"

namespace sandboxd::ctl::doctor {

namespace {

enum class Want { exactly, at_least };

struct Sysctl {
    const char* name;
    Want want;
    std::uint64_t least;  // below it (or another than it): warn
    std::uint64_t best;   // below it: info
    const char* why;
};

// None of them is a wall that sandboxd stands on: its jails close these doors themselves. They are
// for the day when one of its walls has a hole, and for everything else on the host.
constexpr std::array kSysctls{
    Sysctl{"kernel.unprivileged_bpf_disabled", Want::at_least, 1, 2, "BPF is for root"},
    // 3 is a value of Debian's and Android's kernels; elsewhere it is the same as 2.
    Sysctl{"kernel.perf_event_paranoid", Want::at_least, 2, 3,
           "performance counters tell secrets of neighbours"},
    Sysctl{"kernel.io_uring_disabled", Want::at_least, 1, 2,
           "io_uring has been the way into many kernels"},
    Sysctl{"vm.unprivileged_userfaultfd", Want::exactly, 0, 0,
           "userfaultfd makes kernel races easy to win"},
    Sysctl{"kernel.kptr_restrict", Want::at_least, 1, 2, "kernel addresses help an attacker"},
    Sysctl{"kernel.dmesg_restrict", Want::exactly, 1, 1, "the kernel log has addresses in it"},
    Sysctl{"kernel.yama.ptrace_scope", Want::at_least, 1, 2,
           "one process should not read another's memory"},
    Sysctl{"dev.tty.legacy_tiocsti", Want::exactly, 0, 0, "it types into the terminal of another"},
    Sysctl{"fs.protected_symlinks", Want::exactly, 1, 1, "symlinks in /tmp are traps for root"},
    Sysctl{"fs.protected_hardlinks", Want::exactly, 1, 1, "hard links are traps for root"},
    Sysctl{"fs.protected_fifos", Want::at_least, 1, 2, "FIFOs in /tmp are traps for root"},
    Sysctl{"fs.protected_regular", Want::at_least, 1, 2, "files in /tmp are traps for root"},
    Sysctl{"fs.suid_dumpable", Want::exactly, 0, 0,
           "core dumps of privileged programs have secrets in them"},
    Sysctl{"kernel.sysrq", Want::exactly, 0, 0, "the console should not command the kernel"},
    // A sandbox that runs out of memory in a loop writes to the kernel's log each time.
    Sysctl{"vm.oom_dump_tasks", Want::exactly, 0, 0,
           "each kill for memory lists every process of the host in the kernel log"},
    Sysctl{"kernel.printk_ratelimit", Want::at_least, 1, 5,
           "without it sandboxes can flood the kernel log"},
};

std::string path_of(std::string name) {
    for (char& c : name) {
        if (c == '.') c = '/';
    }
    return "/proc/sys/" + name;
}

std::string cure_of(const Sysctl& sysctl) {
    return "sysctl -w " + std::string{sysctl.name} + '=' + std::to_string(sysctl.best) +
           " (and a file in /etc/sysctl.d)";
}

Check check(const Host& host, const Sysctl& sysctl) {
    const std::string name = std::string{"sysctl."} + sysctl.name;
    const auto value = host.number(path_of(sysctl.name));
    if (!value) return {name, Severity::info, "this kernel has no such setting", ""};
    const std::string is = std::to_string(*value);
    const std::string wanted =
        (sysctl.want == Want::at_least ? "at least " : "") + std::to_string(sysctl.least);
    const bool good =
        sysctl.want == Want::at_least ? *value >= sysctl.least : *value == sysctl.least;
    if (!good)
        return {name, Severity::warn, is + ", should be " + wanted + ": " + sysctl.why,
                cure_of(sysctl)};
    if (*value < sysctl.best)
        return {name, Severity::info, is + "; stricter is " + std::to_string(sysctl.best),
                cure_of(sysctl)};
    return {name, Severity::ok, is, ""};
}

// The first number: messages of a lower level go to the console, which can be slow.
Check check_console(const Host& host) {
    const auto text = host.read("/proc/sys/kernel/printk");
    if (!text) return {"sysctl.kernel.printk", Severity::skipped, "could not be read", ""};
    const int level = std::atoi(text->c_str());
    if (level <= 4) return {"sysctl.kernel.printk", Severity::ok, *text, ""};
    return {"sysctl.kernel.printk", Severity::info,
            *text + ": the console gets warnings that sandboxes cause, and the kernel waits for it",
            "dmesg -n 4, or loglevel=4 on the kernel's command line"};
}

}  // namespace

void check_sysctls(const Host& host, Checks& checks) {
    for (const Sysctl& sysctl : kSysctls) checks.push_back(check(host, sysctl));
    checks.push_back(check_console(host));
}

}  // namespace sandboxd::ctl::doctor
