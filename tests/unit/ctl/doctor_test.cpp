#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "sandboxd/ctl/doctor/examine.hpp"

using namespace sandboxd;
using namespace sandboxd::ctl::doctor;

namespace {

// The files of a host in good order; tests change what they are about.
class FakeHost {
public:
    FakeHost() {
        std::string name = (std::filesystem::temp_directory_path() / "doctor-test-XXXXXX").string();
        root_ = ::mkdtemp(name.data());
        probes.root = true;
        probes.kernel_release = "6.18.44-cloud";
        probes.landlock_abi = 7;
        probes.core_scheduling = CoreScheduling::not_needed;
        probes.id_mapped_mount = [] { return Result<void>{}; };
        probes.free_bytes = [](const std::string&) {
            return std::optional<std::uint64_t>{std::uint64_t{100} << 30};
        };
        for (const char* kind : {"user", "mnt", "pid", "ipc", "uts", "net", "cgroup", "time"})
            write(std::string{"/proc/self/ns/"} + kind, "");
        write("/proc/filesystems", "nodev\tsysfs\nnodev\toverlay\n\tbtrfs\n");
        write("/proc/sys/kernel/seccomp/actions_avail",
              "kill_process kill_thread trap errno user_notif trace log allow");
        write("/proc/self/mounts", "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n");
        write("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids");
        for (const char* file : {"cgroup.procs", "cgroup.kill", "cgroup.freeze"})
            write(std::string{"/sys/fs/cgroup/system.slice/"} + file, "");
        write("/usr/sbin/mkfs.btrfs", "");
        write("/dev/loop-control", "");
        write("/proc/sys/kernel/core_pattern", "core");
        write("/proc/swaps", "Filename Type Size Used Priority\n");
        write("/proc/meminfo",
              "MemTotal:       8000000 kB\nMemFree: 1 kB\nMemAvailable:    4000000 kB\n");
        write("/proc/sys/kernel/pid_max", "4194304\n");
        write("/proc/sys/fs/file-max", "9223372036854775807\n");
        write("/proc/sys/fs/inotify/max_user_instances", "1024\n");
        write("/proc/sys/kernel/threads-max", "190000\n");
        write("/proc/sys/fs/inotify/max_user_watches", "180000\n");
        write("/proc/sys/kernel/printk", "4\t4\t1\t7\n");
        write("/proc/net/protocols", "protocol  size sockets\nTCP 1 2\nUNIX-STREAM 1 2\nUDP 1 2\n");
        write("/sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected\n");
        write("/sys/devices/system/cpu/vulnerabilities/spectre_v2", "Mitigation: Retpolines\n");
        write("/etc/passwd",
              "root:x:0:0::/root:/bin/sh\nsandboxd:x:990:990::/:/usr/sbin/nologin\n");
    }
    FakeHost(const FakeHost&) = delete;
    FakeHost& operator=(const FakeHost&) = delete;
    ~FakeHost() { std::filesystem::remove_all(root_); }

    void write(const std::string& path, const std::string& text) const {
        std::filesystem::create_directories(std::filesystem::path{root_ + path}.parent_path());
        std::ofstream{root_ + path} << text;
    }
    void remove(const std::string& path) const { std::filesystem::remove_all(root_ + path); }

    [[nodiscard]] Checks examine() const {
        return sandboxd::ctl::doctor::examine(Host{root_, probes}, "/var/lib/sandboxd");
    }
    [[nodiscard]] Check check(const std::string& name) const {
        for (const Check& check : examine()) {
            if (check.name == name) return check;
        }
        return {name, Severity::skipped, "there is no such check", ""};
    }
    [[nodiscard]] Severity of(const std::string& name) const { return check(name).severity; }

    Probes probes;

private:
    std::string root_;
};

}  // namespace

TEST_CASE("a host in good order has nothing to complain about") {
    const FakeHost host;
    for (const Check& check : host.examine()) {
        INFO(check.name << ": " << check.finding);
        CHECK(check.severity <= Severity::info);
    }
    CHECK(worst(host.examine()) == Severity::info);  // sysctls that a host may lack
    CHECK(worst({}) == Severity::ok);
}

TEST_CASE("everything that is wrong has a cure, and a name of its own") {
    FakeHost host;
    for (const char* path : {"/proc", "/sys", "/dev", "/usr", "/etc"}) host.remove(path);
    host.write("/proc/sys/kernel/io_uring_disabled", "0");
    host.probes.kernel_release = "5.10.0";
    host.probes.landlock_abi.reset();
    host.probes.id_mapped_mount = [] {
        return Result<void>{Error{Errc::incompatible, "mount_setattr"}};
    };
    host.probes.free_bytes = [](const std::string&) { return std::optional<std::uint64_t>{1}; };
    const Checks checks = host.examine();
    CHECK(worst(checks) == Severity::fail);
    std::vector<std::string> names;
    for (const Check& check : checks) {
        INFO(check.name);
        if (check.severity >= Severity::warn) CHECK_FALSE(check.cure.empty());
        names.push_back(check.name);
    }
    std::sort(names.begin(), names.end());
    CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
}

TEST_CASE("kernels are compared within their series") {
    FakeHost host;
    const auto version = [&](const char* release) {
        host.probes.kernel_release = release;
        return host.of("kernel.version");
    };
    CHECK(version("6.18.39") == Severity::ok);
    CHECK(version("6.18.38-generic") == Severity::warn);
    CHECK(version("6.1.0-45-cloud-amd64") == Severity::warn);
    CHECK(version("6.1.178") == Severity::ok);
    CHECK(version("6.8.0-90-generic") ==
          Severity::warn);  // no series of kernel.org's: the distribution has to answer
    CHECK(version("5.14.21") == Severity::fail);
    CHECK(version("4.19") == Severity::fail);
    CHECK(version("7.2.0-rc1") == Severity::ok);
    CHECK(version("7.2") == Severity::ok);
    CHECK(version("unknown") == Severity::warn);
    CHECK(version("") == Severity::warn);
}

TEST_CASE("a missing namespace is a failure, but for the time namespace") {
    FakeHost host;
    host.remove("/proc/self/ns/time");
    CHECK(host.of("namespace.time") == Severity::warn);
    host.remove("/proc/self/ns/user");
    CHECK(host.of("namespace.user") == Severity::fail);
    host.write("/proc/sys/user/max_user_namespaces", "0\n");
    CHECK(host.of("namespace.user_limit") == Severity::fail);
    host.write("/proc/sys/user/max_user_namespaces", "500\n");
    CHECK(host.of("namespace.user_limit") == Severity::warn);
}

TEST_CASE("cgroup controllers are looked for where the mode has them") {
    FakeHost host;
    host.write("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory");
    CHECK(host.of("cgroup.controller.pids") == Severity::fail);
    CHECK(host.of("cgroup.controller.memory") == Severity::ok);
    host.write("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu memory pids");
    CHECK(host.of("cgroup.controller.pids") == Severity::ok);
    CHECK(host.of("cgroup.controller.io") == Severity::info);
    const std::string hybrid =
        "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup "
        "rw,relatime,cpu,cpuacct 0 0\n"
        "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\ncgroup /sys/fs/cgroup/devices cgroup "
        "rw,devices 0 0\n"
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
    host.write("/proc/self/mounts", hybrid);
    CHECK(host.of("cgroup.mode") == Severity::info);
    CHECK(host.of("cgroup.controller.cpuacct") == Severity::ok);
    CHECK(host.of("cgroup.controller.pids") == Severity::fail);
    CHECK(host.of("cgroup.controller.blkio") == Severity::info);
    CHECK(host.of("cgroup.kill") == Severity::skipped);
    host.write("/sys/fs/cgroup/unified/a/cgroup.procs", "");
    CHECK(host.of("cgroup.kill") == Severity::fail);
    host.write("/proc/self/mounts", hybrid.substr(0, hybrid.find("cgroup2")));
    CHECK(host.of("cgroup.mode") == Severity::fail);
    host.write("/proc/self/mounts", "");
    CHECK(host.check("cgroup.mode").finding == "no cgroups are mounted");
}

TEST_CASE("storage: what is missing, what falls back to memory, what only root can try") {
    FakeHost host;
    host.write("/proc/filesystems", "nodev\toverlayfs\n\tbtrfs2\n");  // names that only begin alike
    CHECK(host.of("storage.overlay") == Severity::fail);
    CHECK(host.of("storage.btrfs") == Severity::warn);
    host.write("/lib/modules/6.18.44-cloud/modules.dep", "kernel/fs/btrfs/btrfs.ko.xz: x\n");
    host.write("/lib/modules/6.18.44-cloud/modules.builtin", "kernel/fs/overlayfs/overlay.ko\n");
    CHECK(host.of("storage.overlay") == Severity::ok);
    CHECK(host.of("storage.btrfs") == Severity::ok);
    host.remove("/usr/sbin/mkfs.btrfs");
    CHECK(host.of("storage.mkfs_btrfs") == Severity::warn);
    host.remove("/dev/loop-control");
    CHECK(host.of("storage.loop") == Severity::warn);
    host.probes.id_mapped_mount = [] {
        return Result<void>{Error{Errc::incompatible, "mount_setattr", "/"}};
    };
    CHECK(host.of("storage.id_mapped_mounts") == Severity::fail);
    host.probes.root = false;
    CHECK(host.of("storage.id_mapped_mounts") == Severity::skipped);
    host.probes.free_bytes = [](const std::string& path) {
        return std::optional<std::uint64_t>{path == "/var/lib/sandboxd" ? 5 << 20 : 0};
    };
    CHECK(host.of("storage.space") == Severity::fail);
    CHECK(host.check("storage.space").finding == "5.0 MiB free for /var/lib/sandboxd");
}

TEST_CASE("a sysctl says what it should be") {
    FakeHost host;
    host.write("/proc/sys/kernel/kptr_restrict", "0\n");
    CHECK(host.of("sysctl.kernel.kptr_restrict") == Severity::warn);
    CHECK(host.check("sysctl.kernel.kptr_restrict").cure.find("sysctl -w kernel.kptr_restrict=2") ==
          0);
    host.write("/proc/sys/kernel/kptr_restrict", "1\n");
    CHECK(host.of("sysctl.kernel.kptr_restrict") == Severity::info);
    host.write("/proc/sys/kernel/kptr_restrict", "2\n");
    CHECK(host.of("sysctl.kernel.kptr_restrict") == Severity::ok);
    host.write("/proc/sys/fs/suid_dumpable", "2\n");
    CHECK(host.of("sysctl.fs.suid_dumpable") == Severity::warn);
    host.write("/proc/sys/fs/suid_dumpable", "0\n");
    CHECK(host.of("sysctl.fs.suid_dumpable") == Severity::ok);
}

TEST_CASE("what lets one sandbox see another") {
    FakeHost host;
    host.write("/proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n");
    CHECK(host.of("host.swap") == Severity::warn);
    CHECK(host.check("host.swap").finding.find("/dev/sda2") != std::string::npos);
    host.write("/proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 1 0 -2\n/dev/dm-1 partition 1 0 -2\n");
    CHECK(host.of("host.swap") == Severity::warn);  // a device mapper may be anything
    host.write("/sys/block/dm-1/dm/uuid", "CRYPT-PLAIN-swap\n");
    CHECK(host.of("host.swap") == Severity::ok);
    host.write("/sys/block/dm-1/dm/uuid", "LVM-abc\n");
    CHECK(host.of("host.swap") == Severity::warn);
    host.write("/sys/kernel/mm/ksm/run", "1\n");
    CHECK(host.of("host.ksm") == Severity::warn);
    host.write("/sys/devices/system/cpu/smt/control", "on\n");
    CHECK(host.of("host.smt") == Severity::warn);
    host.write("/sys/devices/system/cpu/smt/control", "forceoff\n");
    CHECK(host.of("host.smt") == Severity::ok);
    host.write("/sys/devices/system/cpu/vulnerabilities/mds", "Vulnerable: Clear CPU buffers attempted\n");
    CHECK(host.of("host.cpu_vulnerabilities") == Severity::warn);
    CHECK(host.check("host.cpu_vulnerabilities").finding.starts_with("mds:"));
    host.remove("/sys/devices/system/cpu/vulnerabilities");
    CHECK(host.of("host.cpu_vulnerabilities") == Severity::skipped);
    host.write("/proc/sys/kernel/core_pattern", "|/usr/share/apport/apport %p\n");
    CHECK(host.of("kernel.core_pattern") == Severity::info);
}

TEST_CASE("core scheduling is missed where threads share a core") {
    FakeHost host;
    CHECK(host.of("host.core_scheduling") == Severity::ok);
    host.probes.core_scheduling = CoreScheduling::missing;
    CHECK(host.of("host.core_scheduling") == Severity::info);
    host.write("/sys/devices/system/cpu/smt/control", "on\n");
    CHECK(host.of("host.core_scheduling") == Severity::warn);
    host.probes.core_scheduling = CoreScheduling::available;
    CHECK(host.of("host.core_scheduling") == Severity::ok);
}

TEST_CASE("a loud console and a kernel log that sandboxes can fill") {
    FakeHost host;
    CHECK(host.of("sysctl.kernel.printk") == Severity::ok);
    host.write("/proc/sys/kernel/printk", "7\t4\t1\t7\n");
    CHECK(host.of("sysctl.kernel.printk") == Severity::info);
    host.write("/proc/sys/vm/oom_dump_tasks", "1\n");
    CHECK(host.of("sysctl.vm.oom_dump_tasks") == Severity::warn);
    host.write("/proc/sys/vm/oom_dump_tasks", "0\n");
    CHECK(host.of("sysctl.vm.oom_dump_tasks") == Severity::ok);
    host.write("/proc/sys/kernel/printk_ratelimit", "0\n");
    CHECK(host.of("sysctl.kernel.printk_ratelimit") == Severity::warn);
}

TEST_CASE("modules that exploits begin with") {
    FakeHost host;
    host.write("/lib/modules/6.18.44-cloud/modules.dep",
               "kernel/net/rxrpc/rxrpc.ko: \nkernel/net/sctp/sctp.ko.zst: \n");
    CHECK(host.check("kernel.modules").finding.find("rxrpc sctp") != std::string::npos);
    // One that another module needs can be loaded only if it is there itself; one that is built in is not a module.
    host.write("/lib/modules/6.18.44-cloud/modules.builtin", "kernel/net/tipc/tipc.ko\n");
    CHECK(host.check("kernel.modules").finding.find("tipc") == std::string::npos);
    host.write("/proc/sys/kernel/modprobe", "\n");
    CHECK(host.of("kernel.modules") == Severity::ok);
    host.write("/proc/sys/kernel/modprobe", "/sbin/modprobe\n");
    host.write("/proc/net/protocols", "protocol  size sockets\nAF_VSOCK 1 2\nALG 1 2\nTCP 1 2\n");
    CHECK(host.check("kernel.protocols").finding.find("AF_VSOCK ALG;") != std::string::npos);
    host.write("/proc/net/protocols", "protocol  size sockets\nTCP 1 2\n");
    CHECK(host.of("kernel.protocols") == Severity::ok);
    host.write("/etc/modprobe.d/a.conf", "install rxrpc /bin/false\nblacklist sctp\n");
    CHECK(host.of("kernel.modules") == Severity::ok);
    host.write("/etc/modprobe.d/a.conf", "install rxrpc /bin/false\n");
    CHECK(host.check("kernel.modules").finding.find(": sctp") != std::string::npos);
    host.write("/proc/sys/kernel/modules_disabled", "1\n");
    CHECK(host.of("kernel.modules") == Severity::ok);
}

TEST_CASE("capacity") {
    FakeHost host;
    CHECK(host.check("host.memory").finding == "3.8 GiB of 7.6 GiB available");
    host.write("/proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 100000 kB\n");
    CHECK(host.of("host.memory") == Severity::warn);
    host.write("/proc/sys/fs/inotify/max_user_instances", "64\n");
    CHECK(host.of("host.inotify_instances") == Severity::warn);
    CHECK(host.check("host.pid_max").finding ==
          "4194304, enough for 16384 sandboxes with 256 processes each");
    CHECK(host.of("host.conntrack_max") == Severity::info);  // not loaded
    host.write("/proc/sys/net/netfilter/nf_conntrack_max", "4096\n");
    CHECK(host.of("host.conntrack_max") == Severity::warn);
    host.write("/proc/sys/net/ipv4/neigh/default/gc_thresh3", "128\n");
    CHECK(host.of("host.neighbours_max") == Severity::warn);
    host.write("/etc/passwd", "root:x:0:0::/:/bin/sh\nnot-sandboxd:x:1:1::/:/bin/sh\n");
    CHECK(host.of("host.user") == Severity::info);
}
