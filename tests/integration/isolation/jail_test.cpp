#include "isolation/jail.hpp"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdio>

#include "machine.hpp"

namespace sandboxd::isolation::test {

namespace {

const auto kPatience = std::chrono::seconds{10};

Jail launch(const JailSpec& spec) {
    auto jail = run(Jail::launch(spec, Deadline::after(kPatience)));
    INFO((jail ? std::string{} : jail.error().message()));
    REQUIRE(jail);
    return *std::move(jail);
}

// The Error of a launch that must fail, after checking that it has left nothing.
Error failure_of(const JailSpec& spec, SandboxCgroup& cgroup, std::chrono::milliseconds patience) {
    const std::size_t descriptors = open_descriptors();
    auto jail = run(Jail::launch(spec, Deadline::after(patience)));
    REQUIRE_FALSE(jail);
    CHECK(children_of_this_process().empty());
    CHECK(open_descriptors() <= descriptors);
    const auto populated = cgroup.populated();
    REQUIRE(populated);
    CHECK_FALSE(*populated);
    REQUIRE(cgroup.remove());
    return std::move(jail).error();
}

std::string proc(pid_t pid, const std::string& file) {
    return "/proc/" + std::to_string(pid) + "/" + file;
}

ino_t ns_inode(const std::string& path) {
    const auto st = sys::statat(AT_FDCWD, path.c_str());
    REQUIRE(st);
    return st->st_ino;
}

std::string line_with(const std::string& text, const std::string& start) {
    const auto at = ("\n" + text).find("\n" + start);
    if (at == std::string::npos) return {};
    return text.substr(at, text.find('\n', at) - at);
}

}  // namespace

TEST_CASE("a jail maps 65,536 ids to its own range and has every namespace of its own") {
    Machine machine;
    const auto cgroup = machine.group("a");
    Jail jail = launch(machine.spec(*cgroup));
    const pid_t pid = jail.init().pid;
    for (const char* map : {"uid_map", "gid_map"}) {
        const auto text = sys::read_file(proc(pid, map));
        REQUIRE(text);
        unsigned inside = 1, outside = 0, count = 0;
        REQUIRE(std::sscanf(text->c_str(), "%u %u %u", &inside, &outside, &count) == 3);
        CHECK(inside == 0);
        CHECK(outside == Machine::kBase);
        CHECK(count == kIdRange);
    }
    // Its children's time namespace comes from the init, which stays in the host's.
    for (const char* ns :
         {"ns/user", "ns/mnt", "ns/pid", "ns/net", "ns/ipc", "ns/uts", "ns/cgroup"}) {
        INFO(ns);
        CHECK(ns_inode(proc(pid, ns)) != ns_inode(std::string{"/proc/self/"} + ns));
    }
    end(jail, *cgroup);
}

TEST_CASE("the user namespace belongs to the sandbox's own uid and owns the others") {
    Machine machine;
    const auto cgroup = machine.group("a");
    Jail jail = launch(machine.spec(*cgroup));
    const auto userns = sys::open(proc(jail.init().pid, "ns/user"), O_RDONLY);
    REQUIRE(userns);
    uid_t owner = 0;
    REQUIRE(::ioctl(userns->get(), NS_GET_OWNER_UID, &owner) == 0);
    CHECK(owner == Machine::kBase);
    for (const char* ns : {"ns/mnt", "ns/pid", "ns/net", "ns/ipc", "ns/uts", "ns/cgroup"}) {
        INFO(ns);
        const auto fd = sys::open(proc(jail.init().pid, ns), O_RDONLY);
        REQUIRE(fd);
        const Fd owning{::ioctl(fd->get(), NS_GET_USERNS)};
        REQUIRE(owning.valid());
        CHECK(sys::fstat(owning.get())->st_ino == sys::fstat(userns->get())->st_ino);
    }
    end(jail, *cgroup);
    CHECK(::geteuid() == 0);
}

TEST_CASE(
    "the init begins as root of its namespace with three descriptors, no environment and no "
    "group") {
    Machine machine;
    const auto cgroup = machine.group("a");
    // Inheritable on purpose: nothing of the daemon's may get through, whatever its flags.
    const int leak = ::dup(2);
    REQUIRE(leak >= 0);
    Jail jail = launch(machine.spec(*cgroup));
    ::close(leak);
    const std::string text = machine.ask();
    CHECK(line_with(text, "fds ") == "fds 0,1,2,3");
    CHECK(line_with(text, "pid ") == "pid 1 uid 0 gid 0 groups 0");
    CHECK(line_with(text, "environment ") == "environment 0");
    CHECK(line_with(text, "SigBlk:") == "SigBlk:\t0000000000000000");
    CHECK(line_with(text, "SigIgn:") == "SigIgn:\t0000000000000000");
    CHECK(line_with(text, "CapEff:") != "CapEff:\t0000000000000000");
    char null[64]{};
    REQUIRE(::readlink(proc(jail.init().pid, "fd/2").c_str(), null, sizeof null - 1) > 0);
    CHECK(std::string{null} == "/dev/null");
    end(jail, *cgroup);
}

TEST_CASE(
    "owners on disk are 0-based: what the jail's root makes is root's, and only in the upper") {
    Machine machine;
    const auto cgroup = machine.group("a");
    Jail jail = launch(machine.spec(*cgroup));
    const std::string text = machine.ask();
    CHECK(line_with(text, "role 1 ") == "role 1 owner 0");
    CHECK(line_with(text, "role 2 ") == "role 2 owner 0");
    CHECK(line_with(text, "upper ") == "upper written");
    CHECK(line_with(text, "lower ") == "lower Read-only file system");
    const auto made = sys::statat(AT_FDCWD, (machine.upper() + "/u/made").c_str());
    REQUIRE(made);
    CHECK(made->st_uid == 0);
    end(jail, *cgroup);
}

TEST_CASE(
    "a read-only bind of a file system without id-mapping is passed as it is, a lower of one is "
    "refused") {
    Machine machine;
    const auto cgroup = machine.group("a");
    JailSpec spec = machine.spec(*cgroup);
    spec.mounts.sources.push_back({FdRole::bind_mount, "/proc/sys/kernel", "/mnt/kernel", true});
    Jail jail = launch(spec);
    CHECK(line_with(machine.ask(), "role 3 ") == "role 3 owner 65534");
    end(jail, *cgroup);

    const auto second = machine.group("b");
    spec = machine.spec(*second);
    spec.mounts.sources[1].path = "/proc/sys/kernel";
    const Error error = failure_of(spec, *second, kPatience);
    CHECK(error.is(Errc::incompatible));
    CHECK(error.message().find("id-mapped") != std::string::npos);
}

TEST_CASE("the init is in the sandbox's groups of every hierarchy and sees no path of the host") {
    Machine machine;
    const auto cgroup = machine.group("a");
    Jail jail = launch(machine.spec(*cgroup));
    const std::string pid = std::to_string(jail.init().pid) + "\n";
    const auto folders = machine.folders_of("a");
    CHECK(folders.size() >= (machine.driver().mode() == CgroupMode::hybrid ? 5 : 1));
    for (const std::string& folder : folders) {
        INFO(folder);
        const bool split = sys::exists(folder + "/init");
        const auto members = sys::read_file(folder + (split ? "/init" : "") + "/cgroup.procs");
        REQUIRE(members);
        CHECK(*members == pid);
    }
    const std::string seen = machine.ask();
    INFO(seen);
    CHECK(line_with(seen, "0::") == "0::/init");
    CHECK(seen.find(machine.root_name()) == std::string::npos);
    CHECK(seen.find("/..") == std::string::npos);
    end(jail, *cgroup);
    CHECK(machine.folders_of("a").empty());
}

TEST_CASE("a launch that fails names the stage and leaves no process, descriptor or group") {
    Machine machine;
    const auto cgroup = machine.group("a");
    const auto failing = [&](const std::string& mode,
                             std::chrono::milliseconds patience = kPatience) {
        return failure_of(machine.spec(*cgroup, mode), *cgroup, patience);
    };
    SECTION("the init reports a failure") {
        const Error error = failing("fail");
        CHECK(error.is_errno(ENOSPC));
        CHECK(error.message().find("root_overlay") != std::string::npos);
        REQUIRE(error.facts().size() == 1);
        CHECK(std::get<std::string>(error.facts()[0].second) == "root_overlay");
    }
    SECTION("the init dies") {
        CHECK(failing("die").is(Errc::protocol_error));
    }
    SECTION("the init answers nonsense") {
        CHECK(failing("garbage").is(Errc::protocol_error));
    }
    SECTION("the init stops half-way without an error") {
        CHECK(failing("early").is(Errc::protocol_error));
    }
    SECTION("the init hangs") {
        CHECK(failing("hang", std::chrono::milliseconds{50}).is(Errc::timeout));
    }
    SECTION("the init can't be executed") {
        JailSpec spec = machine.spec(*cgroup);
        const std::string path = machine.folder() + "/not-a-program";
        REQUIRE(sys::write_file_atomic(path, "text", 0644));
        const Fd not_a_program = get(sys::open(path, O_PATH));
        spec.init_binary = not_a_program.get();
        const Error error = failure_of(spec, *cgroup, kPatience);
        INFO(error.message());
        CHECK(error.is_errno(EACCES));
        CHECK(error.message().find("exec") != std::string::npos);
    }
    SECTION("a tree is not there") {
        JailSpec spec = machine.spec(*cgroup);
        spec.mounts.sources[1].path = machine.folder() + "/missing";
        CHECK(failure_of(spec, *cgroup, kPatience).is_errno(ENOENT));
    }
    SECTION("the group refuses the init") {
        // The step and the errno are the child's own. pids.max does not stop a move, a closed
        // descriptor does.
        JailSpec spec = machine.spec(*cgroup);
        struct Refusing final : SandboxCgroup {
            SandboxCgroup& inner;
            Fd wrong;
            explicit Refusing(SandboxCgroup& group) : inner{group} {
                wrong = *sys::open("/dev/full", O_WRONLY);
            }
            int clone_target() const override { return inner.clone_target(); }
            Entry entry() const override { return {{wrong.get()}, inner.entry().namespace_root, {}}; }
            Result<void> settle() override { return inner.settle(); }
            Result<void> enter_init(pid_t pid) override { return inner.enter_init(pid); }
            std::vector<std::pair<FdRole, int>> plan_fds() const override {
                return inner.plan_fds();
            }
            void release() noexcept override { inner.release(); }
            Result<Fd> open_memory_dir() const override { return inner.open_memory_dir(); }
            Result<Fd> open_cpu_dir() const override { return inner.open_cpu_dir(); }
            Result<Fd> open_pids_dir() const override { return inner.open_pids_dir(); }
            Result<void> set_limits(const CgroupLimits& limits) override {
                return inner.set_limits(limits);
            }
            Result<void> freeze(bool on) override { return inner.freeze(on); }
            Result<void> kill() override { return inner.kill(); }
            Result<bool> populated() override { return inner.populated(); }
            Result<void> remove() override { return inner.remove(); }
        } refusing{*cgroup};
        spec.cgroup = &refusing;
        const Error error = failure_of(spec, refusing, kPatience);
        CHECK(error.is_errno(ENOSPC));
        CHECK(error.message().find("enter_cgroups") != std::string::npos);
    }
}

TEST_CASE("a spec that no init could carry out is refused before anything starts") {
    Machine machine;
    const auto cgroup = machine.group("a");
    JailSpec spec = machine.spec(*cgroup);
    SECTION("no seccomp") {
        spec.seccomp = nullptr;
    }
    SECTION("the host's own ids") {
        spec.ids.base = 0;
    }
    SECTION("a range that wraps around") {
        spec.ids.base = 0xffff'fff0;
    }
    SECTION("no lower") {
        spec.mounts.sources.pop_back();
    }
    SECTION("a writable lower") {
        spec.mounts.sources[1].read_only = false;
    }
    SECTION("a relative bind") {
        spec.mounts.sources.push_back({FdRole::bind_mount, "/usr", "usr", true});
    }
    SECTION("a lower after a bind") {
        spec.mounts.sources.push_back({FdRole::bind_mount, "/usr", "/usr", true});
        spec.mounts.sources.push_back({FdRole::lower_mount, "/usr", "", true});
    }
    CHECK(failure_of(spec, *cgroup, kPatience).is(Errc::invalid_argument));
}

TEST_CASE("a cancelled launch is dead and reaped when it answers") {
    Machine machine;
    const auto cgroup = machine.group("a");
    asio::io_context context;
    asio::cancellation_signal stop;
    std::optional<Result<Jail>> outcome;
    std::exception_ptr failure;
    auto finished = [&](std::exception_ptr thrown) { failure = thrown; };
    auto task =
        store(Jail::launch(machine.spec(*cgroup, "hang"), Deadline::after(kPatience)), outcome);
    asio::co_spawn(context, std::move(task),
                   asio::bind_cancellation_slot(stop.slot(), std::move(finished)));
    while (children_of_this_process().empty()) context.run_one();
    stop.emit(asio::cancellation_type::all);
    context.run();
    REQUIRE_FALSE(failure);
    REQUIRE(outcome);
    REQUIRE_FALSE(*outcome);
    CHECK(outcome->error().is(Errc::canceled));
    CHECK(children_of_this_process().empty());
    REQUIRE(cgroup->remove());
}

TEST_CASE("a launch whose loop is torn down leaves no process") {
    Machine machine;
    const auto cgroup = machine.group("a");
    {
        std::optional<Result<Jail>> outcome;
        asio::io_context context;
        start(context, Jail::launch(machine.spec(*cgroup, "hang"), Deadline::after(kPatience)),
              outcome);
        while (children_of_this_process().empty()) context.run_one();
    }
    CHECK(children_of_this_process().empty());
    REQUIRE(cgroup->remove());
}

TEST_CASE(
    "a jail can be adopted by pid and start time, waited for, and not by another start time") {
    Machine machine;
    const auto cgroup = machine.group("a");
    Jail jail = launch(machine.spec(*cgroup));
    sys::ProcessIdentity other = jail.init();
    ++other.start_ticks;
    const auto refused = Jail::adopt(other);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().is_errno(ESRCH));

    auto adopted = Jail::adopt(jail.init());
    REQUIRE(adopted);
    CHECK(adopted->init() == jail.init());
    const auto early = run(adopted->wait(Deadline::after(std::chrono::milliseconds{20})));
    REQUIRE_FALSE(early);
    CHECK(early.error().is(Errc::timeout));
    REQUIRE(cgroup->kill());
    CHECK(run(adopted->wait(Deadline::after(kPatience))));
    CHECK(children_of_this_process().size() == 1);  // not the adopter's to reap
    CHECK(run(jail.wait(Deadline::after(kPatience))));
    CHECK(children_of_this_process().empty());
    REQUIRE(cgroup->remove());
}

TEST_CASE("dropping a Jail does not end it") {
    Machine machine;
    const auto cgroup = machine.group("a");
    std::optional<Jail> jail = launch(machine.spec(*cgroup));
    const sys::ProcessIdentity init = jail->init();
    jail.reset();
    CHECK(line_with(machine.ask(), "pid ") == "pid 1 uid 0 gid 0 groups 0");
    auto again = Jail::adopt(init);
    REQUIRE(again);
    REQUIRE(cgroup->kill());
    CHECK(run(again->wait(Deadline::after(kPatience))));
    siginfo_t info{};
    CHECK(::waitid(P_PID, static_cast<id_t>(init.pid), &info, WEXITED) == 0);
    REQUIRE(cgroup->remove());
}

}  // namespace sandboxd::isolation::test
