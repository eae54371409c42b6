#include <array>
#include <charconv>
#include <tuple>

#include "sandboxd/ctl/doctor/examine.hpp"

namespace sandboxd::ctl::doctor {

namespace {

struct Version {
    unsigned major = 0;
    unsigned minor = 0;
    unsigned patch = 0;
    auto operator<=>(const Version&) const = default;
};

constexpr Version kFloor{5, 15, 0};
// The first release of each series with the fixes of the local privilege escalations known in July
// 2026. To be raised when others are found.
constexpr std::array kFixed{Version{5, 15, 212}, Version{6, 1, 178}, Version{6, 6, 145},
                            Version{6, 12, 102}, Version{6, 18, 39}, Version{7, 0, 13},
                            Version{7, 1, 4}};

std::optional<Version> parse_version(const std::string& text) {
    Version version;
    const char* at = text.data();
    const char* const end = text.data() + text.size();
    for (unsigned* part : {&version.major, &version.minor, &version.patch}) {
        const auto [next, code] = std::from_chars(at, end, *part);
        if (code != std::errc{})
            return part == &version.patch ? std::optional{version} : std::nullopt;
        at = next != end && *next == '.' ? next + 1 : next;
        if (at == end) return part == &version.major ? std::nullopt : std::optional{version};
    }
    return version;
}

std::string text_of(Version version) {
    return std::to_string(version.major) + '.' + std::to_string(version.minor) + '.' +
           std::to_string(version.patch);
}

Check check_version(const std::string& release) {
    const auto version = parse_version(release);
    if (!version)
        return {"kernel.version", Severity::warn, release + ": not understood",
                "compare it with the list in docs/cli.md"};
    if (*version < kFloor)
        return {"kernel.version", Severity::fail, release, "Linux 5.15 or newer is needed"};
    if (*version > kFixed.back()) return {"kernel.version", Severity::ok, release, ""};
    for (const Version& fixed : kFixed) {
        if (std::tie(fixed.major, fixed.minor) != std::tie(version->major, version->minor))
            continue;
        if (*version >= fixed) return {"kernel.version", Severity::ok, release, ""};
        return {
            "kernel.version", Severity::warn,
            release + ": local privilege escalations are known that " + text_of(fixed) + " fixes",
            "update the kernel, unless your distribution has backported the fixes"};
    }
    return {"kernel.version", Severity::warn, release + ": not a series that kernel.org maintains",
            "make sure that your distribution backports fixes to it"};
}

void check_namespaces(const Host& host, Checks& checks) {
    for (const char* kind : {"user", "mnt", "pid", "ipc", "uts", "net", "cgroup", "time"}) {
        const bool there = host.exists(std::string{"/proc/self/ns/"} + kind);
        const std::string name = std::string{"namespace."} + kind;
        if (there) {
            checks.push_back({name, Severity::ok, "available", ""});
        } else if (std::string_view{kind} == "time") {
            checks.push_back({name, Severity::warn, "missing",
                              "sandboxes will see the host's boot time (CONFIG_TIME_NS)"});
        } else {
            checks.push_back({name, Severity::fail, "missing", "use a kernel with this namespace"});
        }
    }
    const auto most = host.number("/proc/sys/user/max_user_namespaces");
    if (most && *most < 1000) {
        checks.push_back({"namespace.user_limit", *most < 8 ? Severity::fail : Severity::warn,
                          std::to_string(*most) + " user namespaces",
                          "raise user.max_user_namespaces: each sandbox takes two"});
    }
}

Check check_seccomp(const Host& host) {
    const auto actions = host.read("/proc/sys/kernel/seccomp/actions_avail");
    if (!actions)
        return {"kernel.seccomp", Severity::fail, "missing",
                "use a kernel with CONFIG_SECCOMP_FILTER"};
    for (const char* action : {"kill_process", "errno", "allow"}) {
        if (actions->find(action) == std::string::npos) {
            return {"kernel.seccomp", Severity::fail, std::string{"no action "} + action,
                    "use a newer kernel"};
        }
    }
    return {"kernel.seccomp", Severity::ok, *actions, ""};
}

Check check_landlock(const std::optional<int>& abi) {
    if (!abi) {
        return {"kernel.landlock", Severity::warn, "missing",
                "a second wall is missing: boot with lsm=landlock,… or CONFIG_SECURITY_LANDLOCK"};
    }
    const std::string finding = "ABI " + std::to_string(*abi);
    // 6: abstract Unix sockets and signals are confined too (Linux 6.12).
    if (*abi < 6)
        return {"kernel.landlock", Severity::info, finding,
                "ABI 6 (Linux 6.12) confines abstract sockets and signals too"};
    return {"kernel.landlock", Severity::ok, finding, ""};
}

}  // namespace

void check_kernel(const Host& host, Checks& checks) {
    checks.push_back(check_version(host.probes().kernel_release));
    check_namespaces(host, checks);
    checks.push_back(check_seccomp(host));
    checks.push_back(check_landlock(host.probes().landlock_abi));
}

}  // namespace sandboxd::ctl::doctor
