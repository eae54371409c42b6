#include <sstream>
#include <string>

#include "sandboxd/ctl/doctor/examine.hpp"

namespace sandboxd::ctl::doctor {

namespace {

Check check_core_pattern(const Host& host) {
    const auto pattern = host.read("/proc/sys/kernel/core_pattern");
    if (!pattern) return {"kernel.core_pattern", Severity::skipped, "could not be read", ""};
    // Jails have RLIMIT_CORE 1, which ends such a dump before the handler sees it.
    if (pattern->starts_with('|') || pattern->starts_with('@')) {
        return {
            "kernel.core_pattern", Severity::info,
            *pattern + ": a handler outside of the sandbox; crashes in sandboxes do not reach it",
            ""};
    }
    return {"kernel.core_pattern", Severity::ok, *pattern, ""};
}

// A swap file or partition as /proc/swaps names it: what is written there can't be read later.
bool forgets(const Host& host, const std::string& device) {
    if (device.starts_with("/dev/zram")) return true;  // memory
    if (!device.starts_with("/dev/dm-")) return false;
    return host.read("/sys/block/" + device.substr(5) + "/dm/uuid")
        .value_or("")
        .starts_with("CRYPT-");
}

Check check_swap(const Host& host) {
    std::istringstream lines{host.read("/proc/swaps").value_or("")};
    std::string title, open, others;
    std::getline(lines, title);
    for (std::string line; std::getline(lines, line);) {
        const std::string device = line.substr(0, line.find_first_of(" \t"));
        (forgets(host, device) ? others : open) += ' ' + device;
    }
    if (!open.empty())
        return {"host.swap", Severity::warn,
                "what a sandbox had in memory can stay on a disk:" + open,
                "swapoff -a, or encrypt the swap"};
    return {"host.swap", Severity::ok, others.empty() ? "none" : "encrypted or in memory:" + others,
            ""};
}

Check check_ksm(const Host& host) {
    const auto run = host.number("/sys/kernel/mm/ksm/run");
    if (!run || *run != 1) return {"host.ksm", Severity::ok, "off", ""};
    return {"host.ksm", Severity::warn,
            "merges equal pages: one sandbox can find out what another has in memory",
            "echo 2 > /sys/kernel/mm/ksm/run"};
}

Check check_smt(const Host& host) {
    const std::string control =
        host.read("/sys/devices/system/cpu/smt/control").value_or("notsupported");
    if (control != "on") return {"host.smt", Severity::ok, control, ""};
    return {"host.smt", Severity::warn, "on: threads of one core share what side channels read",
            "echo off > /sys/devices/system/cpu/smt/control, where sandboxes of different tenants "
            "run at once"};
}

// Keeps programs of two sandboxes from being on one core at a time; of use only with SMT.
Check check_core_scheduling(const Host& host) {
    switch (host.probes().core_scheduling) {
        case CoreScheduling::available:
            return {"host.core_scheduling", Severity::ok, "available", ""};
        case CoreScheduling::not_needed:
            return {"host.core_scheduling", Severity::ok, "no threads share a core", ""};
        case CoreScheduling::missing:
            break;
    }
    const bool smt = host.read("/sys/devices/system/cpu/smt/control").value_or("") == "on";
    return {"host.core_scheduling", smt ? Severity::warn : Severity::info,
            "this kernel has none (CONFIG_SCHED_CORE)",
            smt ? "turn SMT off, or use a kernel with it" : ""};
}

// What the kernel itself says of the processor's known leaks.
Check check_vulnerabilities(const Host& host) {
    const std::string folder = "/sys/devices/system/cpu/vulnerabilities";
    const std::vector<std::string> names = host.list(folder);
    if (names.empty())
        return {"host.cpu_vulnerabilities", Severity::skipped, "the kernel does not say", ""};
    std::string open;
    for (const std::string& name : names) {
        if (host.read(folder + '/' + name).value_or("").starts_with("Vulnerable"))
            open += (open.empty() ? "" : " ") + name;
    }
    if (open.empty())
        return {"host.cpu_vulnerabilities", Severity::ok,
                std::to_string(names.size()) + " known, none open", ""};
    return {"host.cpu_vulnerabilities", Severity::warn,
            open + ": programs can read what others have in memory",
            "boot without mitigations=off, update the microcode"};
}

}  // namespace

void check_hardware(const Host& host, Checks& checks) {
    checks.push_back(check_core_pattern(host));
    checks.push_back(check_swap(host));
    checks.push_back(check_ksm(host));
    checks.push_back(check_smt(host));
    checks.push_back(check_core_scheduling(host));
    checks.push_back(check_vulnerabilities(host));
}

}  // namespace sandboxd::ctl::doctor
