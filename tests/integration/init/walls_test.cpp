// What holds beside seccomp: who owns the namespaces, what limits and masks say, and which optional walls stand.
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "isolation/launch_plan.hpp"
#include "sandboxd/core/sys.hpp"
#include "tests/integration/init/sandbox.hpp"

namespace sandboxd::init_test {
namespace {

using isolation::Wall;
using isolation::Walls;

constexpr const char* kOwned[] = {"mnt", "net", "ipc", "uts", "pid", "cgroup", "time"};

std::string namespace_path(int pid, const std::string& name) { return "/proc/" + std::to_string(pid) + "/ns/" + name; }

ino_t inode(int fd) { return sys::fstat(fd)->st_ino; }

// The user namespace that owns this one; for a user namespace: its parent.
ino_t owner_of(int pid, const std::string& name) {
    const auto fd = sys::open(namespace_path(pid, name), O_RDONLY);
    REQUIRE(fd);
    const Fd owner{::ioctl(fd->get(), name == "user" ? NS_GET_PARENT : NS_GET_USERNS)};
    REQUIRE(owner.valid());
    return inode(owner.get());
}

ino_t user_namespace(int pid) { return inode(sys::open(namespace_path(pid, "user"), O_RDONLY)->get()); }

Walls walls_of(const Sandbox& sandbox) { return Walls{nlohmann::json::parse(sandbox.state()).at("walls").get<std::uint32_t>()}; }

long landlock_version() { return ::syscall(SYS_landlock_create_ruleset, nullptr, 0, 1U); }

// A child of this process with a namespace of each kind, waiting.
class OwnNamespaces {
public:
    OwnNamespaces() {
        REQUIRE(::pipe2(ready_, O_CLOEXEC) == 0);
        child_ = ::fork();
        REQUIRE(child_ >= 0);
        if (child_ == 0) {
            const bool done = ::unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) == 0;
            (void)!::write(ready_[1], done ? "y" : "n", 1);
            for (;;) ::pause();
        }
        char answer = 0;
        REQUIRE(::read(ready_[0], &answer, 1) == 1);
        REQUIRE(answer == 'y');
    }
    OwnNamespaces(const OwnNamespaces&) = delete;
    OwnNamespaces& operator=(const OwnNamespaces&) = delete;
    ~OwnNamespaces() {
        ::kill(child_, SIGKILL);
        ::waitpid(child_, nullptr, 0);
        ::close(ready_[0]);
        ::close(ready_[1]);
    }
    [[nodiscard]] int pid() const { return child_; }

private:
    int ready_[2] = {-1, -1};
    pid_t child_ = -1;
};

}  // namespace

TEST_CASE("no namespace of a running program belongs to the user namespace that it lives in") {
    Sandbox sandbox;
    for (const std::uint32_t uid : {1000U, 0U}) {
        Command command;
        command.exec = 10 + uid;
        command.uid = uid;
        command.argv = {"sleep", "60"};
        (void)start(sandbox.client(), command);
        const auto pids = sandbox.processes(command.exec);
        REQUIRE(pids.size() == 1);
        const ino_t own = user_namespace(pids[0]);
        const ino_t outer = user_namespace(sandbox.init_pid());
        CHECK(own != outer);
        CHECK(owner_of(pids[0], "user") == outer);
        for (const char* name : kOwned) {
            INFO(name << ", uid " << uid);
            CHECK(owner_of(pids[0], name) == outer);
            CHECK(inode(sys::open(namespace_path(pids[0], name), O_RDONLY)->get()) != inode(sys::open(namespace_path(::getpid(), name), O_RDONLY)->get()));
        }
    }
    // The control: somebody who has made namespaces in the ordinary way does own them.
    const OwnNamespaces ordinary;
    for (const char* name : {"mnt", "net", "ipc", "uts"}) CHECK(owner_of(ordinary.pid(), name) == user_namespace(ordinary.pid()));
}

TEST_CASE("without the profile's refusals there is still no namespace, no mount and no device node") {
    Options options;
    options.weak_seccomp = true;
    Sandbox sandbox{options};
    const char* const kTry =
        "import ctypes, os, stat\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def told(rc): return os.strerror(ctypes.get_errno()) if rc != 0 else 'done'\n"
        "for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000, 0x8000000, 0x4000000, 0x2000000, 0x80): print(told(libc.unshare(flag)))\n"
        "print(told(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)))\n"
        "print(told(libc.umount2(b'/proc', 2)))\n"
        "print(told(libc.mknod(b'/tmp/node', stat.S_IFCHR | 0o600, 0)))\n"
        "os.mkdir('/tmp/a'); os.mkdir('/tmp/b'); open('/tmp/a/f', 'w').close(); os.rename('/tmp/a/f', '/tmp/b/g'); os.link('/tmp/b/g', '/tmp/a/h'); print('moved')\n";
    for (const std::uint32_t uid : {1000U, 0U}) {
        Command command;
        command.exec = 10 + uid;
        command.uid = uid;
        command.argv = {"python3", "-c", std::string{"import os; os.environ['TMPDIR']='/tmp'\n"} + kTry};
        const Ran ran = run(sandbox.client(), command);
        INFO("uid " << uid << "\n" << ran.out << ran.err);
        std::string expected = "No space left on device\n";  // user namespaces: the count of U1
        for (int i = 0; i < 7; ++i) expected += "Operation not permitted\n";
        expected += "Operation not permitted\nOperation not permitted\n";
        // 0:0 is a whiteout, which takes no capability: only Landlock stands in the way.
        expected += landlock_version() >= 2 ? "Permission denied\n" : "done\n";
        CHECK(ran.out == expected + "moved\n");
        (void)shell(sandbox.client(), "rm -rf /tmp/a /tmp/b /tmp/node", uid);
    }
    // The control: outside of a jail such a node can be made.
    const std::string path = sandbox.state_dir() + "/node";
    CHECK(::mknod(path.c_str(), S_IFCHR | 0600, 0) == 0);
    ::unlink(path.c_str());
}

TEST_CASE("the walls that a kernel may lack are reported as they stand") {
    Sandbox sandbox;
    const Walls walls = walls_of(sandbox);
    CHECK(walls.has(Wall::landlock_mounts) == (landlock_version() >= 2));
    CHECK(walls.has(Wall::landlock_scopes) == (landlock_version() >= 6));
    CHECK(walls.has(Wall::keyring));
    CHECK(walls.has(Wall::user_limits));
    // In a child: a cookie, once taken, is not given back. ENODEV: one thread per core.
    const pid_t child = ::fork();
    if (child == 0) ::_exit(::prctl(62, 1, 0, 0, 0) == 0 || errno == ENODEV ? 1 : 0);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(walls.has(Wall::core_scheduling) == (WEXITSTATUS(status) == 1));
}

TEST_CASE("mountinfo names neither a path nor an id of the host") {
    Sandbox sandbox;
    if (!walls_of(sandbox).has(Wall::hidden_ids)) WARN("this kernel can't id-map a tmpfs");
    for (const std::uint32_t uid : {1000U, 0U}) {
        const std::string text = shell(sandbox.client(), "cat /proc/self/mountinfo /proc/mounts", uid).out;
        INFO(text);
        CHECK(text.find("overlay") != std::string::npos);
        CHECK(text.find("devpts") != std::string::npos);
        CHECK(text.find(sandbox.state_dir()) == std::string::npos);
        CHECK(text.find("sandbox-") == std::string::npos);  // where the product is installed
        if (!walls_of(sandbox).has(Wall::hidden_ids)) continue;
        CHECK(text.find(std::to_string(sandbox.base_id()).substr(0, 6)) == std::string::npos);
        for (const char* option : {",uid=", ",gid="}) CHECK(text.find(option) == std::string::npos);
    }
}

TEST_CASE("what is masked can neither be read nor uncovered nor moved, also by the jail's root") {
    Sandbox sandbox;
    const char* const kTry =
        "for f in allocinfo bootconfig buddyinfo cmdline config.gz consoles diskstats dma interrupts iomem ioports kallsyms kcore key-users keys kmsg kpagecgroup"
        " kpagecount kpageflags latency_stats locks mdstat modules mtrr pagetypeinfo partitions sched_debug schedstat slabinfo softirqs sysrq-trigger timer_list"
        " timer_stats vmallocinfo vmcore vmstat zoneinfo; do\n"
        "  p=/proc/$f; [ -e $p ] || continue\n"
        "  [ -z \"$(head -c 64 $p 2>/dev/null | tr -d '\\0')\" ] || echo read $p\n"
        "  umount $p 2>/dev/null && echo uncovered $p; mv $p /tmp/x 2>/dev/null && echo moved $p; rm -f $p 2>/dev/null && echo removed $p\n"
        "  mount --bind /tmp $p 2>/dev/null && echo covered $p\n"
        "done\n"
        "for d in acpi asound driver dynamic_debug pressure scsi tty; do\n"
        "  p=/proc/$d; [ -e $p ] || continue\n"
        "  [ -z \"$(ls -A $p 2>/dev/null)\" ] || echo read $p\n"
        "  umount $p 2>/dev/null && echo uncovered $p; mkdir $p/x 2>/dev/null && echo written $p\n"
        "done\n"
        "for f in cpuinfo meminfo stat loadavg swaps; do (echo x > /proc/$f) 2>/dev/null && echo written $f; umount /proc/$f 2>/dev/null && echo uncovered $f; done\n"
        "for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/random/boot_id /proc/irq/default_smp_affinity /sys/x /sys/devices/system/cpu/online /dev/x"
        " /run/sandboxd/x; do (echo x > $f) 2>/dev/null && echo written $f; done\n"
        "rm -f /run/sandboxd/sudo.sock /run/sandboxd/bin/sudo 2>/dev/null; mv /run/sandboxd /run/other 2>/dev/null && echo moved /run/sandboxd\n"
        "echo tried";
    for (const std::uint32_t uid : {1000U, 0U}) {
        INFO("uid " << uid);
        CHECK(shell(sandbox.client(), kTry, uid).out == "tried\n");
        CHECK(shell(sandbox.client(), "ls /run/sandboxd/sudo.sock /run/sandboxd/bin/sudo", uid).out == "/run/sandboxd/bin/sudo\n/run/sandboxd/sudo.sock\n");
    }
    // The control: some of them say something on the host.
    CHECK_FALSE(sys::read_file("/proc/cmdline")->empty());
    CHECK_FALSE(sys::read_file("/proc/vmstat")->empty());
}

TEST_CASE("a crash in a jail starts no handler of the host") {
    const std::string pattern = *sys::read_file("/proc/sys/kernel/core_pattern");
    struct Restore {
        std::string value;
        ~Restore() { (void)sys::write_control("/proc/sys/kernel/core_pattern", value); }
    } restore{pattern};
    Sandbox sandbox;
    const std::string script = sandbox.state_dir() + "/handler";
    const std::string mark = sandbox.state_dir() + "/handled";
    std::ofstream{script} << "#!/bin/sh\ncat > /dev/null\necho x >> " << mark << "\n";
    REQUIRE(sys::chmod(script, 0755));
    REQUIRE(sys::write_control("/proc/sys/kernel/core_pattern", "|" + script));
    for (const std::uint32_t uid : {1000U, 0U}) {
        const Ran ran = shell(sandbox.client(), "ulimit -c unlimited 2>/dev/null; python3 -c 'import os; os.abort()'; echo $?; ulimit -Hc; ls core* 2>/dev/null", uid);
        INFO(ran.out << ran.err);
        CHECK(ran.out.substr(0, 4) == "134\n");
    }
    CHECK_FALSE(sys::exists(mark));
    // The control: the same crash outside is handled.
    const pid_t child = ::fork();
    if (child == 0) {
        const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
        ::setrlimit(RLIMIT_CORE, &unlimited);
        ::signal(SIGABRT, SIG_DFL);
        ::abort();
    }
    REQUIRE(::waitpid(child, nullptr, 0) == child);
    CHECK(eventually([&] { return sys::exists(mark); }));
}

}  // namespace sandboxd::init_test
