#include <algorithm>
#include <array>

#include "sandboxd/ctl/doctor/examine.hpp"

namespace sandboxd::ctl::doctor {

namespace {

// Socket families and line disciplines that the kernel loads for anybody who asks, and that
// exploits of 2026 began with.
constexpr std::array<const char*, 14> kDoors{
    "algif_aead", "algif_skcipher", "algif_hash", "af_alg", "esp4", "esp6", "rxrpc", "sctp",
    "rds",        "tipc",           "vsock",      "n_gsm",  "ax25", "can"};

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

Check check_swap(const Host& host) {
    const auto swaps = host.read("/proc/swaps");
    if (!swaps) return {"host.swap", Severity::ok, "none", ""};
    const auto devices =
        std::count(swaps->begin(), swaps->end(), '\n');  // the first line is a title
    if (devices == 0) return {"host.swap", Severity::ok, "none", ""};
    return {"host.swap", Severity::warn,
            std::to_string(devices) + " in use: what a sandbox had in memory can stay on a disk",
            "swapoff -a, or encrypt the swap"};
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

Check check_modules(const Host& host) {
    if (host.number("/proc/sys/kernel/modules_disabled").value_or(0) == 1)
        return {"kernel.modules", Severity::ok, "no more can be loaded", ""};
    std::string disabled;
    for (const std::string& name : host.list("/etc/modprobe.d"))
        disabled += host.read("/etc/modprobe.d/" + name).value_or("") + '\n';
    std::string open;
    for (const char* module : kDoors) {
        if (!host.has_module(module)) continue;
        // "install NAME /bin/false" is what keeps the kernel from loading it; a blacklist line does
        // so for aliases.
        const bool closed =
            disabled.find(std::string{"install "} + module + ' ') != std::string::npos ||
            disabled.find(std::string{"blacklist "} + module + '\n') != std::string::npos;
        if (!closed) open += (open.empty() ? "" : " ") + std::string{module};
    }
    if (open.empty())
        return {"kernel.modules", Severity::ok,
                "none of those that exploits begin with can be loaded", ""};
    return {"kernel.modules", Severity::warn,
            "can be loaded by a socket(2) of anybody outside of sandboxes: " + open,
            "echo 'install NAME /bin/false' >> /etc/modprobe.d/sandboxd.conf for each that nothing "
            "here needs"};
}

}  // namespace

void check_hardware(const Host& host, Checks& checks) {
    checks.push_back(check_core_pattern(host));
    checks.push_back(check_modules(host));
    checks.push_back(check_swap(host));
    checks.push_back(check_ksm(host));
    checks.push_back(check_smt(host));
}

}  // namespace sandboxd::ctl::doctor
