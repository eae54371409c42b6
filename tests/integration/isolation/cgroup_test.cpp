#include "isolation/cgroup.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>

#include "isolation/cgroup_drivers.hpp"
#include "isolation/cgroup_unified.hpp"
#include "isolation/device_policy.hpp"
#include "machine.hpp"
#include "member.hpp"

namespace sandboxd::isolation::test {

namespace {

// The sandbox's folder in the hierarchy of this v1 controller.
std::string v1_folder(const Machine& machine, const std::string& name,
                      std::string_view controller) {
    const CgroupTree tree = get(read_cgroup_tree());
    const CgroupHierarchy* hierarchy = tree.find(controller);
    REQUIRE(hierarchy != nullptr);
    return hierarchy->self_folder() + "/" + machine.root_name() + "/" + name;
}

}  // namespace

TEST_CASE("hybrid: a group's limits stand in the files, the init has a budget of its own",
          "[hybrid]") {
    Machine machine;
    const auto cgroup = machine.group("a");
    const std::string memory = v1_folder(machine, "a", "memory");
    CHECK(value(memory + "/work/memory.limit_in_bytes") == std::to_string(256 << 20));
    CHECK(value(memory + "/work/memory.kmem.tcp.limit_in_bytes") == std::to_string(32 << 20));
    CHECK(value(memory + "/work/memory.swappiness") == "0");
    if (sys::exists(memory + "/work/memory.memsw.limit_in_bytes")) {
        CHECK(value(memory + "/work/memory.memsw.limit_in_bytes") == std::to_string(256 << 20));
    }
    CHECK(value(memory + "/init/memory.limit_in_bytes") == std::to_string(16 << 20));
    const std::string pids = v1_folder(machine, "a", "pids");
    CHECK(value(pids + "/work/pids.max") == "100");
    CHECK(value(pids + "/init/pids.max") == "64");
    const std::string cpu = v1_folder(machine, "a", "cpu");
    CHECK(value(cpu + "/work/cpu.cfs_quota_us") == "50000");
    CHECK(value(cpu + "/work/cpu.cfs_period_us") == "100000");
    const std::string devices = value(v1_folder(machine, "a", "devices") + "/devices.list");
    CHECK(devices.find("c 1:3 rw") != std::string::npos);
    CHECK(devices.find("a *:*") == std::string::npos);
    CHECK(devices.find('m') == std::string::npos);  // no mknod

    CgroupLimits more = small_limits();
    more.memory_bytes = 512 << 20;
    more.cpu_milli = 2000;
    REQUIRE(cgroup->set_limits(more));
    CHECK(value(memory + "/work/memory.limit_in_bytes") == std::to_string(512 << 20));
    CHECK(value(cpu + "/work/cpu.cfs_quota_us") == "200000");
    REQUIRE(cgroup->set_limits(small_limits()));
    CHECK(value(memory + "/work/memory.limit_in_bytes") == std::to_string(256 << 20));
    REQUIRE(cgroup->remove());
}

TEST_CASE("hybrid: memory below what the workload uses is a conflict that says how much it uses",
          "[hybrid]") {
    Machine machine;
    const auto cgroup = machine.group("a");
    const std::string memory = v1_folder(machine, "a", "memory");
    {
        const Member member({memory + "/work/cgroup.procs"}, [] { touch_memory(64 << 20); });
        REQUIRE(member.entered());
        CgroupLimits less = small_limits();
        less.memory_bytes = 16 << 20;
        less.pids = 7;
        const auto refused = cgroup->set_limits(less);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().is(Errc::conflict));
        REQUIRE(refused.error().facts().size() == 3);
        CHECK(std::get<std::int64_t>(refused.error().facts()[1].second) == 16 << 20);
        CHECK(value(memory + "/work/memory.limit_in_bytes") == std::to_string(256 << 20));
        CHECK(value(v1_folder(machine, "a", "pids") + "/work/pids.max") ==
              "100");  // nothing else changed
    }
    REQUIRE(cgroup->remove());
}

TEST_CASE("hybrid: the workload's pids and memory limits hold, the init's leaf is not part of them",
          "[hybrid]") {
    Machine machine;
    auto limits = small_limits();
    limits.memory_bytes = 32 << 20;
    limits.pids = 4;
    const auto cgroup = get(machine.driver().create("a", limits, IdMap{Machine::kBase}));
    {
        // 64 MiB in a group of 32 MiB without swap: the kernel kills before the child can say that
        // it is ready.
        const Member hungry({v1_folder(machine, "a", "memory") + "/work/cgroup.procs"},
                            [] { touch_memory(64 << 20); });
        CHECK_FALSE(hungry.entered());
        // In the init's leaf the same budget of the workload does not count.
        const Member init({v1_folder(machine, "a", "memory") + "/init/cgroup.procs"},
                          [] { touch_memory(8 << 20); });
        CHECK(init.entered());
    }
    {
        const Member bomb({v1_folder(machine, "a", "pids") + "/work/cgroup.procs"}, [] {
            for (int i = 0; i < 3; ++i) {
                const pid_t pid = ::fork();
                if (pid == 0) {
                    for (;;) ::pause();
                }
                if (pid < 0) ::_exit(3);
            }
            if (::fork() != -1) ::_exit(4);  // the fifth
            for (const pid_t pid : children_of_this_process()) ::kill(pid, SIGKILL);
            while (::wait(nullptr) > 0) {
            }
        });
        CHECK(bomb.entered());
    }
    REQUIRE(cgroup->remove());
}

TEST_CASE("the init's uid owns what it needs to make leaves, and none of the limits") {
    Machine machine;
    const auto cgroup = machine.group("a");
    const uid_t init = IdMap{Machine::kBase}.init_id();
    const auto owner = [](const std::string& path) {
        return get(sys::statat(AT_FDCWD, path.c_str())).st_uid;
    };
    const std::string unified = machine.unified_folder("a");
    for (const char* file : {"/work", "/work/cgroup.procs", "/work/cgroup.subtree_control",
                             "/work/cgroup.threads", "/cgroup.procs"}) {
        INFO(file);
        CHECK(owner(unified + file) == init);
    }
    for (const char* file : {"", "/init", "/init/cgroup.procs", "/cgroup.kill", "/cgroup.freeze",
                             "/work/cgroup.kill"}) {
        INFO(file);
        CHECK(owner(unified + file) == 0);
    }
    if (machine.driver().mode() == CgroupMode::hybrid) {
        const std::string memory = v1_folder(machine, "a", "memory");
        CHECK(owner(memory + "/work") == init);
        CHECK(owner(memory + "/work/memory.limit_in_bytes") == 0);
        CHECK(owner(v1_folder(machine, "a", "pids") + "/work") == 0);
    }
    REQUIRE(cgroup->remove());
}

TEST_CASE(
    "a group freezes, thaws, tells when it empties, and is not removed while it is populated") {
    Machine machine;
    const auto cgroup = machine.group("a");
    const std::string unified = machine.unified_folder("a");
    {
        const Member member({unified + "/work/cgroup.procs"}, [] {});
        REQUIRE(member.entered());
        CHECK(get(cgroup->populated()));
        REQUIRE(cgroup->freeze(true));
        CHECK(value(unified + "/cgroup.events").find("frozen 1") != std::string::npos);
        REQUIRE(cgroup->freeze(true));
        const auto refused = cgroup->remove();
        REQUIRE_FALSE(refused);
        CHECK(refused.error().is_errno(EBUSY));
        REQUIRE(cgroup->freeze(false));
        CHECK(value(unified + "/cgroup.events").find("frozen 0") != std::string::npos);

        // Kill reaches frozen processes too.
        REQUIRE(cgroup->freeze(true));
        const Fd events = get(sys::open(unified + "/cgroup.events", O_RDONLY));
        char text[256];
        (void)::pread(events.get(), text, sizeof text, 0);  // from here on a change is signalled
        REQUIRE(cgroup->kill());
        pollfd waited{events.get(), POLLPRI, 0};
        while (get(cgroup->populated())) {
            REQUIRE(::poll(&waited, 1, 5000) == 1);
            (void)::pread(events.get(), text, sizeof text, 0);
        }
    }
    REQUIRE(cgroup->remove());
    CHECK(machine.folders_of("a").empty());
}

TEST_CASE("groups are listed, opened by a later driver, and refused twice") {
    Machine machine;
    const auto first = machine.group("a");
    const auto second = machine.group("b");
    CHECK(get(machine.driver().list()) == std::vector<std::string>{"a", "b"});

    const auto again = machine.driver().create("a", small_limits(), IdMap{Machine::kBase});
    REQUIRE_FALSE(again);
    CHECK(again.error().errc() == Errc::conflict);
    CHECK(machine.folders_of("a").size() > 0);  // what was there is untouched

    const auto opened = get(machine.driver().open("a"));
    CHECK_FALSE(get(opened->populated()));
    first->release();
    CHECK(get(sys::fstat(get(opened->open_memory_dir()).get())).st_ino ==
          get(sys::fstat(get(first->open_memory_dir()).get())).st_ino);
    REQUIRE(opened->remove());
    REQUIRE(second->remove());
    const auto missing = machine.driver().open("a");
    REQUIRE_FALSE(missing);
    CHECK(missing.error().is(Errc::not_found));
    for (const char* name : {"", ".", "..", "a/b", ".hidden"}) {
        INFO(name);
        CHECK_FALSE(machine.driver().create(name, small_limits(), IdMap{Machine::kBase}));
    }
}

TEST_CASE("a half-made group is listed and can be removed", "[hybrid]") {
    Machine machine;
    const auto cgroup = machine.group("a");
    auto folders = machine.folders_of("a");
    REQUIRE(folders.size() > 0);
    // All but one are gone, as after a crash between two steps; also the unified one.
    const std::string left = v1_folder(machine, "a", "pids");
    for (const std::string& folder : folders) {
        if (folder != left) REQUIRE(remove_folders(folder));
    }
    CHECK(get(machine.driver().list()) == std::vector<std::string>{"a"});
    const auto opened = get(machine.driver().open("a"));
    CHECK(opened->kill());
    CHECK_FALSE(get(opened->populated()));
    REQUIRE(opened->remove());
    CHECK(get(machine.driver().list()).empty());
}

TEST_CASE("removing takes the leaves that the init has made") {
    Machine machine;
    const auto cgroup = machine.group("a");
    REQUIRE(sys::ensure_dir(machine.unified_folder("a") + "/work/e1", 0755));
    REQUIRE(sys::ensure_dir(machine.unified_folder("a") + "/work/e2", 0755));
    REQUIRE(cgroup->remove());
    CHECK(machine.folders_of("a").empty());
}

TEST_CASE("the root is not removed while a sandbox is in it") {
    Machine machine;
    const auto cgroup = machine.group("a");
    const auto refused = machine.driver().remove_root();
    REQUIRE_FALSE(refused);
    CHECK(refused.error().is_errno(EBUSY));
    REQUIRE(cgroup->remove());
}

TEST_CASE("an io limit without a device to hold it on is refused, not dropped") {
    Machine machine;
    CgroupLimits limits = small_limits();
    limits.io_bytes_per_second = 1 << 20;
    const auto refused = machine.driver().create("a", limits, IdMap{Machine::kBase});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().is(Errc::incompatible));
    CHECK(machine.folders_of("a").empty());
}

TEST_CASE("the device policy of cgroup2 holds below its folder, also beside v1, and once only") {
    Machine machine;
    const std::string root = machine.unified_folder("devices");
    for (const char* folder : {"", "/below"}) REQUIRE(sys::ensure_dir(root + folder, 0755));
    const std::string procs = root + "/below/cgroup.procs";
    const auto opens = [&](const char* path) {
        return run_in({procs}, [&] { return ::open(path, O_RDONLY | O_NONBLOCK) < 0 ? errno : 0; });
    };
    // On v2 the machine's own folder has the policy already, and a program below takes its place.
    const Fd folder = get(sys::open(root, O_RDONLY | O_DIRECTORY));
    std::vector<AllowedDevice> more = allowed_devices();
    more.push_back({1, 11});
    REQUIRE(attach_device_policy(folder.get(), more));
    CHECK(opens("/dev/kmsg") == 0);
    CHECK(opens("/dev/loop-control") == EPERM);
    REQUIRE(attach_device_policy(folder.get(), allowed_devices()));
    CHECK(opens("/dev/kmsg") == EPERM);
    CHECK(opens("/dev/null") == 0);
    const auto refused =
        attach_device_policy(get(sys::open(machine.folder(), O_RDONLY)).get(), allowed_devices());
    REQUIRE_FALSE(refused);
    CHECK(refused.error().is(Errc::incompatible));
    REQUIRE(remove_folders(root));
}

// What of the v2 driver needs no controller runs on any cgroup2 tree, also beside v1.
TEST_CASE(
    "v2: a launch works where the limits' controllers are missing, and the group is the "
    "namespace's root") {
    Machine machine;
    const std::string root =
        get(read_cgroup_tree()).unified->self_folder() + "/" + machine.root_name() + "-v2";
    REQUIRE(sys::ensure_dir(root, 0755));
    const auto driver = make_v2_driver(V2Root{root, {}, 0});
    CHECK(driver->mode() == CgroupMode::v2);
    const auto cgroup = get(driver->create("a", small_limits(), IdMap{Machine::kBase}));
    Jail jail =
        get(run(Jail::launch(machine.spec(*cgroup), Deadline::after(std::chrono::seconds{10}))));
    CHECK(value(root + "/a/init/cgroup.procs") == std::to_string(jail.init().pid));
    CHECK(value(root + "/a/cgroup.procs").empty());
    CHECK(machine.ask().find("0::/init\n") != std::string::npos);
    CHECK(cgroup->plan_fds().size() == 1);
    end(jail, *cgroup);
    CHECK(driver->remove_root());
    CHECK_FALSE(sys::exists(root));
}

}  // namespace sandboxd::isolation::test
