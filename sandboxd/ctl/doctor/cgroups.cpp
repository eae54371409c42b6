#include <algorithm>
#include <array>
#include <sstream>

#include "sandboxd/ctl/doctor/examine.hpp"

namespace sandboxd::ctl::doctor {

namespace {

// What sandboxd does not start without. Bandwidth is refused only when it is asked for, and which
// devices may be opened is held by a BPF program of cgroup2 where no v1 hierarchy does it.
constexpr std::array<std::string_view, 4> kV1Controllers{"memory", "cpu", "cpuacct", "pids"};
constexpr std::array<std::string_view, 3> kV2Controllers{"memory", "cpu", "pids"};

struct Mounts {
    std::string unified;          // where cgroup2 is mounted; empty: nowhere
    std::vector<std::string> v1;  // options of each v1 hierarchy, ",memory,rw,"
};

// Lines of /proc/self/mounts: device, point, type, options, two numbers.
Mounts parse_mounts(const std::string& text) {
    Mounts mounts;
    std::istringstream lines{text};
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words{line};
        std::string device, point, type, options;
        words >> device >> point >> type >> options;
        if (type == "cgroup2" && mounts.unified.empty()) mounts.unified = point;
        if (type == "cgroup") mounts.v1.push_back(',' + options + ',');
    }
    return mounts;
}

bool has_v1(const Mounts& mounts, std::string_view controller) {
    const std::string word = ',' + std::string{controller} + ',';
    return std::any_of(mounts.v1.begin(), mounts.v1.end(), [&](const std::string& options) {
        return options.find(word) != std::string::npos;
    });
}

// The root of the tree has neither file; any group below it does.
Check check_kill(const Host& host, const std::string& unified) {
    for (const std::string& name : host.list(unified)) {
        const std::string folder = unified + '/' + name;
        if (!host.exists(folder + "/cgroup.procs")) continue;
        if (host.exists(folder + "/cgroup.kill") && host.exists(folder + "/cgroup.freeze"))
            return {"cgroup.kill", Severity::ok, "available", ""};
        return {"cgroup.kill", Severity::fail, "missing",
                "Linux 5.14 or newer is needed to end a sandbox for certain"};
    }
    return {"cgroup.kill", Severity::skipped, "no group to look at below " + unified, ""};
}

Check missing(std::string_view controller, std::string cure) {
    return {
        "cgroup.controller." + std::string{controller}, Severity::fail, "missing",
        std::move(cure) + ", or name it in unsafe_missing_controllers and do without its limit"};
}

Check no_bandwidth(std::string_view controller) {
    return {"cgroup.controller." + std::string{controller}, Severity::info, "missing",
            "limits on disk bandwidth are refused without it"};
}

bool offers(const std::string& words, std::string_view controller) {
    return (' ' + words + ' ').find(' ' + std::string{controller} + ' ') != std::string::npos;
}

void check_v2(const Host& host, const std::string& unified, Checks& checks) {
    const std::string offered = host.read(unified + "/cgroup.controllers").value_or("");
    for (const std::string_view name : kV2Controllers) {
        if (!offers(offered, name)) {
            checks.push_back(missing(name, "boot without cgroup_disable=" + std::string{name} +
                                               " and with systemd.unified_cgroup_hierarchy=1"));
        } else {
            checks.push_back(
                {"cgroup.controller." + std::string{name}, Severity::ok, "available", ""});
        }
    }
    if (!offers(offered, "io")) checks.push_back(no_bandwidth("io"));
}

void check_hybrid(const Mounts& mounts, Checks& checks) {
    for (const std::string_view name : kV1Controllers) {
        if (has_v1(mounts, name)) {
            checks.push_back(
                {"cgroup.controller." + std::string{name}, Severity::ok, "available (v1)", ""});
        } else {
            checks.push_back(
                missing(name, "mount the cgroup v1 hierarchy with \"" + std::string{name} + '"'));
        }
    }
    if (!has_v1(mounts, "blkio")) checks.push_back(no_bandwidth("blkio"));
}

}  // namespace

void check_cgroups(const Host& host, Checks& checks) {
    const Mounts mounts = parse_mounts(host.read("/proc/self/mounts").value_or(""));
    if (mounts.unified.empty()) {
        checks.push_back(
            {"cgroup.mode", Severity::fail,
             mounts.v1.empty() ? "no cgroups are mounted" : "v1 alone",
             "mount cgroup2 too: mount -t cgroup2 none /sys/fs/cgroup/unified (systemd does it)"});
        return;
    }
    const bool hybrid = has_v1(mounts, "memory") || has_v1(mounts, "cpu");
    checks.push_back({"cgroup.mode", hybrid ? Severity::info : Severity::ok,
                      hybrid ? "hybrid: controllers in v1, processes in v2 at " + mounts.unified
                             : "v2 at " + mounts.unified,
                      ""});
    if (hybrid) {
        check_hybrid(mounts, checks);
    } else {
        check_v2(host, mounts.unified, checks);
    }
    checks.push_back(check_kill(host, mounts.unified));
}

}  // namespace sandboxd::ctl::doctor
