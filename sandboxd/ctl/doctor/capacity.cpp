#include <array>
#include <charconv>
#include <string>

#include "sandboxd/ctl/doctor/examine.hpp"
#include "sandboxd/ctl/units.hpp"

namespace sandboxd::ctl::doctor {

namespace {

constexpr std::uint64_t kLeastMemory = std::uint64_t{1} << 30;

// A value of /proc/meminfo in bytes.
std::optional<std::uint64_t> memory(const Host& host, const std::string& name) {
    const std::string text = '\n' + host.read("/proc/meminfo").value_or("");
    std::size_t at = text.find('\n' + name + ':');
    if (at == std::string::npos) return std::nullopt;
    at = text.find_first_of("0123456789", at);
    if (at == std::string::npos) return std::nullopt;
    std::uint64_t kib = 0;
    std::from_chars(text.data() + at, text.data() + text.size(), kib);
    return kib * 1024;
}

Check check_memory(const Host& host) {
    const auto available = memory(host, "MemAvailable");
    if (!available)
        return {"host.memory", Severity::skipped, "/proc/meminfo could not be read", ""};
    const std::string finding = format_bytes(*available) + " of " +
                                format_bytes(memory(host, "MemTotal").value_or(0)) + " available";
    if (*available < kLeastMemory) {
        return {"host.memory", Severity::warn, finding,
                "room for one sandbox at most: each has 512 MiB unless its limits say otherwise"};
    }
    return {"host.memory", Severity::ok, finding, ""};
}

// Host-wide: all sandboxes together, and the host, share them. `each`: what a sandbox with the
// default limits may use, where a limit of its own says so.
struct Quota {
    const char* path;
    const char* name;
    std::uint64_t least;
    std::uint64_t each;
    const char* cure;
};

constexpr std::array kQuotas{
    Quota{"/proc/sys/kernel/pid_max", "pid_max", 32768, 256, "sysctl -w kernel.pid_max=4194304"},
    Quota{"/proc/sys/kernel/threads-max", "threads_max", 32768, 256,
          "sysctl -w kernel.threads-max=1000000"},
    Quota{"/proc/sys/fs/file-max", "file_max", 100'000, 0, "sysctl -w fs.file-max=10000000"},
    Quota{"/proc/sys/fs/inotify/max_user_instances", "inotify_instances", 128, 0,
          "sysctl -w fs.inotify.max_user_instances=1024"},
    Quota{"/proc/sys/fs/inotify/max_user_watches", "inotify_watches", 8192, 0,
          "sysctl -w fs.inotify.max_user_watches=524288"},
    Quota{"/proc/sys/net/netfilter/nf_conntrack_max", "conntrack_max", 65536, 0,
          "sysctl -w net.netfilter.nf_conntrack_max=1048576"},
    Quota{"/proc/sys/net/ipv4/neigh/default/gc_thresh3", "neighbours_max", 1024, 0,
          "sysctl -w net.ipv4.neigh.default.gc_thresh3=8192"},
};

Check check_quota(const Host& host, const Quota& quota) {
    const std::string name = std::string{"host."} + quota.name;
    const auto value = host.number(quota.path);
    if (!value) return {name, Severity::info, "this kernel has no such limit now", ""};
    std::string finding = std::to_string(*value);
    if (quota.each > 0)
        finding += ", enough for " + std::to_string(*value / quota.each) + " sandboxes with " +
                   std::to_string(quota.each) + " processes each";
    if (*value >= quota.least) return {name, Severity::ok, finding, ""};
    return {name, Severity::warn, finding + "; all sandboxes and the host share it", quota.cure};
}

Check check_user(const Host& host) {
    const std::string users = '\n' + host.read("/etc/passwd").value_or("");
    if (users.find("\nsandboxd:") != std::string::npos)
        return {"host.user", Severity::ok, "the user sandboxd exists", ""};
    return {"host.user", Severity::info,
            "no user sandboxd: sandboxd-api runs as a fixed uid of its own",
            "systemd-sysusers, or useradd --system sandboxd, to give it a name"};
}

}  // namespace

void check_capacity(const Host& host, Checks& checks) {
    checks.push_back(check_memory(host));
    for (const Quota& quota : kQuotas) checks.push_back(check_quota(host, quota));
    checks.push_back(check_user(host));
}

}  // namespace sandboxd::ctl::doctor
