// The v2 driver where all controllers are cgroup2's: runs in the guest of tests/vm, and on any such
// machine.
#include <fcntl.h>
#include <linux/bpf.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <cstdlib>

#include "isolation/cgroup_drivers.hpp"
#include "isolation/cgroup_folder.hpp"
#include "machine.hpp"
#include "member.hpp"

namespace sandboxd::isolation::test {

namespace {

std::uint64_t count(const std::string& path, const char* key) {
    return get(flat_key(get(sys::read_file(path)), key));
}

// A sandbox's group as it is once its PID 1 runs, with one leaf as the init makes it.
struct Settled {
    Machine& machine;
    std::unique_ptr<SandboxCgroup> cgroup;
    std::string top;
    std::string leaf;

    Settled(Machine& host, const CgroupLimits& limits)
        : machine{host},
          cgroup{get(host.driver().create("a", limits, IdMap{Machine::kBase}))},
          top{host.unified_folder("a")},
          leaf{top + "/work/e1"} {
        REQUIRE(host.driver().mode() == CgroupMode::v2);
        REQUIRE(cgroup->settle());
        REQUIRE(sys::ensure_dir(leaf, 0755));
    }
    [[nodiscard]] std::string procs() const { return leaf + "/cgroup.procs"; }
};

int as_init(const std::function<int()>& body) {
    const uid_t id = IdMap{Machine::kBase}.init_id();
    if (::setresgid(id, id, id) != 0 || ::setresuid(id, id, id) != 0) return 100;
    return body();
}

// errno of one write, or 0.
int written(const std::string& path, std::string_view text) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    const bool ok = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    const int error = ok ? 0 : errno;
    ::close(fd);
    return error;
}

int opened(const char* path, int flags) {
    const int fd = ::open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) return errno;
    ::close(fd);
    return 0;
}

// cgroup.events signals once for each change since it was last read.
bool empties(SandboxCgroup& cgroup, const std::string& folder) {
    const Fd events = get(sys::open(folder + "/cgroup.events", O_RDONLY));
    char text[256];
    for (;;) {
        (void)!::pread(events.get(), text, sizeof text, 0);
        if (!get(cgroup.populated())) return true;
        pollfd waited{events.get(), POLLPRI, 0};
        if (::poll(&waited, 1, 10'000) != 1) return false;
    }
}

std::uint32_t device_programs(const std::string& folder) {
    const Fd cgroup = get(sys::open(folder, O_RDONLY | O_DIRECTORY));
    bpf_attr attributes{};
    attributes.query.target_fd = static_cast<std::uint32_t>(cgroup.get());
    attributes.query.attach_type = BPF_CGROUP_DEVICE;
    REQUIRE(::syscall(SYS_bpf, BPF_PROG_QUERY, &attributes, sizeof attributes) == 0);
    return attributes.query.prog_cnt;
}

}  // namespace

TEST_CASE("v2: a group's limits stand in the files, the init has a budget of its own", "[v2]") {
    Machine machine;
    const Settled group{machine, small_limits()};
    const std::string work = group.top + "/work";
    CHECK(value(work + "/memory.max") == std::to_string(256 << 20));
    CHECK(value(work + "/memory.swap.max") == "0");
    CHECK(value(work + "/pids.max") == "100");
    CHECK(value(work + "/cpu.max") == "50000 100000");
    CHECK(value(group.top + "/init/memory.max") == std::to_string(16 << 20));
    CHECK(value(group.top + "/init/pids.max") == "64");
    CHECK(value(group.top + "/memory.max") == "max");
    // A leaf counts memory and io of its own, and holds no limit that its owner could change.
    CHECK(value(group.leaf + "/memory.current") == "0");
    CHECK_FALSE(sys::exists(group.leaf + "/pids.max"));

    CgroupLimits more = small_limits();
    more.memory_bytes = 512 << 20;
    more.cpu_milli = 2000;
    more.pids = 7;
    REQUIRE(group.cgroup->set_limits(more));
    CHECK(value(work + "/memory.max") == std::to_string(512 << 20));
    CHECK(value(work + "/cpu.max") == "200000 100000");
    CHECK(value(work + "/pids.max") == "7");
    REQUIRE(group.cgroup->remove());
}

TEST_CASE("v2: limits that were changed before the launch are the ones that hold", "[v2]") {
    Machine machine;
    const auto cgroup = machine.group("a");
    CgroupLimits more = small_limits();
    more.pids = 9;
    REQUIRE(cgroup->set_limits(more));
    REQUIRE(cgroup->settle());
    CHECK(value(machine.unified_folder("a") + "/work/pids.max") == "9");
    const auto adopted = get(machine.driver().open("a"));
    REQUIRE(adopted->set_limits(small_limits()));
    CHECK(value(machine.unified_folder("a") + "/work/pids.max") == "100");
    REQUIRE(cgroup->remove());
}

TEST_CASE("v2: memory below what the workload uses is a conflict and changes nothing", "[v2]") {
    Machine machine;
    const Settled group{machine, small_limits()};
    {
        const Member member({group.procs()}, [] { touch_memory(64 << 20); });
        REQUIRE(member.entered());
        CgroupLimits less = small_limits();
        less.memory_bytes = 16 << 20;
        less.pids = 7;
        const auto refused = group.cgroup->set_limits(less);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().is(Errc::conflict));
        REQUIRE(refused.error().facts().size() == 3);
        CHECK(std::get<std::int64_t>(refused.error().facts()[2].second) >= 64 << 20);
        CHECK(value(group.top + "/work/memory.max") == std::to_string(256 << 20));
        CHECK(value(group.top + "/work/memory.high") == "max");
        CHECK(value(group.top + "/work/pids.max") == "100");
        CHECK(count(group.leaf + "/memory.events", "oom_kill") == 0);
    }
    REQUIRE(group.cgroup->remove());
}

TEST_CASE("v2: out of memory kills in the exec's leaf, which counts it, and not the init", "[v2]") {
    Machine machine;
    CgroupLimits limits = small_limits();
    limits.memory_bytes = 32 << 20;
    const Settled group{machine, limits};
    REQUIRE(sys::ensure_dir(group.top + "/work/e2", 0755));
    {
        const Member init({group.top + "/init/cgroup.procs"}, [] { touch_memory(8 << 20); });
        REQUIRE(init.entered());
        const Member hungry({group.procs()}, [] { touch_memory(64 << 20); });
        CHECK_FALSE(hungry.entered());
        CHECK(count(group.leaf + "/memory.events", "oom_kill") == 1);
        CHECK(count(group.top + "/work/e2/memory.events", "oom_kill") == 0);
        CHECK(count(group.top + "/init/memory.events", "oom_kill") == 0);
        CHECK(::kill(init.pid(), 0) == 0);
        CHECK(get(group.cgroup->populated()));
        CHECK(std::strtoull(value(group.top + "/work/memory.peak").c_str(), nullptr, 10) <=
              32 << 20);
    }
    REQUIRE(group.cgroup->remove());
}

TEST_CASE("v2: the workload's processes end at its limit, which is counted", "[v2]") {
    Machine machine;
    CgroupLimits limits = small_limits();
    limits.pids = 4;
    const Settled group{machine, limits};
    const int started = run_in({group.procs()}, [] {
        int children = 0;
        pid_t pid = 0;
        while (children < 20 && (pid = ::fork()) > 0) ++children;
        if (pid == 0) {
            for (;;) ::pause();
        }
        return errno == EAGAIN ? children : 50;
    });
    CHECK(started == 3);
    CHECK(count(group.top + "/work/pids.events", "max") == 1);
    // What it left goes at once, also while it is frozen.
    REQUIRE(group.cgroup->freeze(true));
    CHECK(get(group.cgroup->populated()));
    REQUIRE(group.cgroup->kill());
    REQUIRE(empties(*group.cgroup, group.top));
    REQUIRE(group.cgroup->remove());
}

TEST_CASE("v2: half a core is half a core, and the leaf counts its time", "[v2]") {
    Machine machine;
    const Settled group{machine, small_limits()};
    const auto began = std::chrono::steady_clock::now();
    REQUIRE(run_in({group.procs()}, [] {
                // One second of processor time of its own, by its own clock.
                timespec now{};
                do {
                    if (::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) != 0) return 1;
                } while (now.tv_sec < 1);
                return 0;
            }) == 0);
    const auto took = std::chrono::steady_clock::now() - began;
    CHECK(took > std::chrono::milliseconds{1700});
    CHECK(count(group.leaf + "/cpu.stat", "usage_usec") >= 990'000);
    CHECK(count(group.top + "/work/cpu.stat", "nr_throttled") > 0);
    REQUIRE(group.cgroup->remove());
}

TEST_CASE("v2: a limit of a device's throughput holds", "[v2]") {
    const Machine machine;
    const struct stat folder = get(sys::statat(AT_FDCWD, machine.folder().c_str()));
    const std::string root = machine.unified_folder("io");
    REQUIRE(sys::ensure_dir(root, 0755));
    REQUIRE(sys::write_control(root + "/cgroup.subtree_control", "+memory +pids +cpu +io"));
    const auto driver =
        make_v2_driver(V2Root{root, {"memory", "pids", "cpu", "io"}, folder.st_dev});
    CgroupLimits limits = small_limits();
    limits.io_bytes_per_second = 2 << 20;
    const auto cgroup = get(driver->create("a", limits, IdMap{Machine::kBase}));
    REQUIRE(cgroup->settle());
    REQUIRE(sys::ensure_dir(root + "/a/work/e1", 0755));
    const std::string device =
        std::to_string(major(folder.st_dev)) + ":" + std::to_string(minor(folder.st_dev));
    CHECK(value(root + "/a/work/io.max").find(device + " rbps=2097152 wbps=2097152") == 0);
    const std::string file = machine.folder() + "/written";
    const auto write_in = [&](const std::string& procs) {
        const auto began = std::chrono::steady_clock::now();
        REQUIRE(run_in({procs}, [&] {
                    const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_DIRECT, 0600);
                    void* block = std::aligned_alloc(4096, 1 << 20);
                    for (int i = 0; i < 4; ++i) {
                        if (::pwrite(fd, block, 1 << 20, i << 20) != 1 << 20) return 1;
                    }
                    return 0;
                }) == 0);
        return std::chrono::steady_clock::now() - began;
    };
    CHECK(write_in(root + "/a/init/cgroup.procs") < std::chrono::milliseconds{1000});
    CHECK(write_in(root + "/a/work/e1/cgroup.procs") > std::chrono::milliseconds{1500});
    limits.io_bytes_per_second = 0;
    REQUIRE(cgroup->set_limits(limits));
    CHECK(value(root + "/a/work/io.max").empty());
    CHECK(write_in(root + "/a/work/e1/cgroup.procs") < std::chrono::milliseconds{1000});
    REQUIRE(cgroup->remove());
    REQUIRE(driver->remove_root());
}

TEST_CASE("v2: no device of the host opens in a sandbox's group, and none can be made", "[v2]") {
    Machine machine;
    const Settled group{machine, small_limits()};
    const std::string node = machine.folder() + "/null";
    // The control: outside of the group root may do all of it.
    REQUIRE(opened("/dev/kmsg", O_RDONLY) == 0);
    REQUIRE(::mknod(node.c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0);
    REQUIRE(::unlink(node.c_str()) == 0);
    for (const char* name : {"null", "zero", "full", "random", "urandom"}) {
        INFO(name);
        const std::string path = std::string{"/dev/"} + name;
        CHECK(run_in({group.procs()}, [&] { return opened(path.c_str(), O_RDWR); }) == 0);
    }
    CHECK(run_in({group.procs()}, [] { return opened("/dev/pts/ptmx", O_RDWR); }) == 0);
    for (const char* path : {"/dev/kmsg", "/dev/mem", "/dev/port", "/dev/loop-control"}) {
        INFO(path);
        if (!sys::exists(path)) continue;
        CHECK(run_in({group.procs()}, [&] { return opened(path, O_RDONLY); }) == EPERM);
    }
    const dev_t disk = get(sys::statat(AT_FDCWD, "/")).st_dev;
    const std::string block = machine.folder() + "/disk";
    REQUIRE(::mknod(block.c_str(), S_IFBLK | 0600, disk) == 0);
    CHECK(opened(block.c_str(), O_RDONLY) == 0);
    CHECK(run_in({group.procs()}, [&] { return opened(block.c_str(), O_RDONLY); }) == EPERM);
    CHECK(run_in({group.procs()}, [&] {
              return ::mknod(node.c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0 ? 0 : errno;
          }) == EPERM);
    // The init's leaf is no way around it, and a whiteout of the overlay is no device.
    CHECK(run_in({group.top + "/init/cgroup.procs"},
                 [] { return opened("/dev/kmsg", O_RDONLY); }) == EPERM);
    CHECK(run_in({group.procs()}, [&] {
              return ::mknod(node.c_str(), S_IFCHR | 0600, makedev(0, 0)) == 0 ? 0 : errno;
          }) == 0);
    REQUIRE(group.cgroup->remove());
}

TEST_CASE("v2: a driver that is made again replaces the device policy", "[v2]") {
    Machine machine;
    CHECK(device_programs(machine.unified_folder("")) == 1);
    CgroupConfig config;
    config.root_name = machine.root_name();
    REQUIRE(make_cgroup_driver(config));
    CHECK(device_programs(machine.unified_folder("")) == 1);
}

TEST_CASE("v2: the init's uid moves among leaves, and neither out nor up", "[v2]") {
    Machine machine;
    const Settled group{machine, small_limits()};
    const std::string work = group.top + "/work";
    const std::string init = group.top + "/init/cgroup.procs";
    CHECK(run_in({init}, [&] {
              return as_init([&] {
                  if (::mkdir((work + "/e7").c_str(), 0755) != 0) return errno;
                  return written(work + "/e7/cgroup.procs", "0");
              });
          }) == 0);
    for (const char* file : {"/work/memory.max", "/work/pids.max", "/work/cpu.max",
                             "/cgroup.freeze", "/init/memory.max", "/cgroup.subtree_control"}) {
        INFO(file);
        CHECK(run_in({init}, [&] {
                  return as_init([&] { return written(group.top + file, "max"); });
              }) == EACCES);
    }
    CHECK(run_in({init}, [&] {
              return as_init(
                  [&] { return written(machine.unified_folder("") + "cgroup.procs", "0"); });
          }) == EACCES);
    // What hands controllers down takes no process: a workload can't sit where no limit is.
    CHECK(run_in({}, [&] { return written(group.top + "/cgroup.procs", "0"); }) == EBUSY);
    CHECK(run_in({}, [&] { return written(work + "/cgroup.procs", "0"); }) == EBUSY);
    REQUIRE(group.cgroup->remove());
}

TEST_CASE("v2: the daemon's folder goes where the configuration says, if that holds no process",
          "[v2]") {
    const std::string top = get(read_cgroup_tree()).unified->mount_point;
    const std::string name = "sandboxd-parent-" + std::to_string(::getpid());
    REQUIRE(sys::ensure_dir(top + "/" + name, 0755));
    CgroupConfig config;
    config.parent = "/" + name;
    config.root_name = "sandboxd-x";
    {
        const Member member({top + "/" + name + "/cgroup.procs"}, [] {});
        REQUIRE(member.entered());
        const auto refused = make_cgroup_driver(config);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().is(Errc::incompatible));
        CHECK(refused.error().message().find("cgroup_parent") != std::string::npos);
    }
    {
        const auto driver = get(make_cgroup_driver(config));
        const auto cgroup = get(driver->create("a", small_limits(), IdMap{Machine::kBase}));
        REQUIRE(cgroup->settle());
        CHECK(value(top + "/" + name + "/sandboxd-x/a/work/pids.max") == "100");
        REQUIRE(cgroup->remove());
        REQUIRE(driver->remove_root());
    }
    REQUIRE(sys::unlinkat(AT_FDCWD, (top + "/" + name).c_str(), AT_REMOVEDIR));
}

TEST_CASE("v2: a controller that is not handed down is named, with the cure", "[v2]") {
    const std::string top = get(read_cgroup_tree()).unified->mount_point;
    const std::string parent = "sandboxd-poor-" + std::to_string(::getpid());
    REQUIRE(sys::ensure_dir(top + "/" + parent, 0755));
    REQUIRE(sys::write_control(top + "/" + parent + "/cgroup.subtree_control", "+memory +cpu +io"));
    REQUIRE(sys::ensure_dir(top + "/" + parent + "/inner", 0755));
    CgroupConfig config;
    config.parent = "/" + parent + "/inner";
    config.root_name = "sandboxd-x";
    const auto refused = make_cgroup_driver(config);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().is(Errc::incompatible));
    CHECK(refused.error().message().find("pids") != std::string::npos);
    config.allow_missing = {"pids"};
    const auto driver = get(make_cgroup_driver(config));
    REQUIRE(driver->remove_root());
    for (const std::string& folder : {"/" + parent + "/inner", "/" + parent}) {
        REQUIRE(sys::unlinkat(AT_FDCWD, (top + folder).c_str(), AT_REMOVEDIR));
    }
}

}  // namespace sandboxd::isolation::test
