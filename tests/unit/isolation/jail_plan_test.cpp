#include "isolation/jail_plan.hpp"

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "sandboxd/core/sys.hpp"
#include "tests/unit/isolation/result_printer.hpp"

namespace sandboxd::isolation::test {

namespace {

struct FixedGroup final : SandboxCgroup {
    std::vector<std::pair<FdRole, int>> fds{{FdRole::leaf_unified, 100}, {FdRole::join_procs, 101}};
    int clone_target() const override { return -1; }
    Entry entry() const override { return {}; }
    Result<void> settle() override { return {}; }
    Result<void> enter_init(pid_t) override { return {}; }
    std::vector<std::pair<FdRole, int>> plan_fds() const override { return fds; }
    void release() noexcept override {}
    Result<Fd> open_memory_dir() const override { return Fd{}; }
    Result<Fd> open_cpu_dir() const override { return Fd{}; }
    Result<Fd> open_pids_dir() const override { return Fd{}; }
    Result<void> set_limits(const CgroupLimits&) override { return {}; }
    Result<void> freeze(bool) override { return {}; }
    Result<void> kill() override { return {}; }
    Result<bool> populated() override { return false; }
    Result<void> remove() override { return {}; }
};

struct Example {
    FixedGroup group;
    SeccompFilters filters{"name-program", "argument-program", "refusal-table"};
    JailSpec spec;
    JailMounts mounts;

    Example() {
        spec.ids.base = 1'000'000;
        spec.hostname = "box";
        spec.mounts.sources = {{FdRole::upper_mount, "/u", "", false},
                               {FdRole::lower_mount, "/l0", "", true},
                               {FdRole::lower_mount, "/l1", "", true},
                               {FdRole::bind_mount, "/data", "/mnt/data", true}};
        spec.init_binary = 10;
        spec.agent_listener = 11;
        spec.cgroup = &group;
        spec.seccomp = &filters;
        for (std::size_t i = 0; i < 4; ++i)
            mounts.trees.push_back(get(sys::open("/dev/null", O_RDONLY)));
    }
};

}  // namespace

TEST_CASE("the plan that is sent is the plan that the init reads") {
    Example example;
    const EncodedPlan encoded = get(encode_plan(example.spec, example.mounts));
    LaunchPlan plan;
    wire::Reader reader{encoded.bytes.data(), encoded.bytes.size()};
    REQUIRE(reader(plan));
    CHECK(reader.done());
    CHECK(plan.magic == kPlanMagic);
    CHECK(plan.version == kPlanVersion);
    CHECK(plan.hostname == "box");
    CHECK(plan.fd_roles == std::string_view{"\1\2\2\3\4\5\10", 7});
    REQUIRE(encoded.fds.size() == 7);
    CHECK(encoded.fds[3] == example.mounts.trees[3].get());
    CHECK(std::vector<int>(encoded.fds.begin() + 4, encoded.fds.end()) ==
          std::vector<int>{11, 100, 101});
    CHECK(plan.binds[0] == "/mnt/data");
    CHECK(plan.binds[1].empty());
    CHECK(plan.seccomp_arguments == "argument-program");
    CHECK(plan.seccomp_names == "name-program");
    CHECK(plan.seccomp_refusals == "refusal-table");
    CHECK(plan.rlimit_count == default_rlimits().size());
}

TEST_CASE(
    "the default limits let no core file, message queue or priority out, and bound no address "
    "space") {
    const auto limits = default_rlimits();
    CHECK(limits.size() <= kMaxRlimits);
    const auto of = [&](std::uint32_t resource) {
        const auto found = std::find_if(limits.begin(), limits.end(),
                                        [&](const Rlimit& l) { return l.resource == resource; });
        REQUIRE(found != limits.end());
        return *found;
    };
    CHECK(of(RLIMIT_CORE).hard == 1);
    CHECK(of(RLIMIT_MSGQUEUE).hard == 0);
    CHECK(of(RLIMIT_RTPRIO).hard == 0);
    CHECK(of(RLIMIT_NOFILE).soft == 1024);
    CHECK(of(RLIMIT_NOFILE).hard == 65536);
    CHECK(of(RLIMIT_SIGPENDING).hard == 4096);
    CHECK(of(RLIMIT_AS).hard == RLIM_INFINITY);
    for (const Rlimit& limit : limits) CHECK(limit.soft <= limit.hard);
}

TEST_CASE("limits of the caller's own replace the default ones") {
    Example example;
    example.spec.rlimits = {{RLIMIT_FSIZE, 10, 20}};
    const EncodedPlan encoded = get(encode_plan(example.spec, example.mounts));
    LaunchPlan plan;
    wire::Reader reader{encoded.bytes.data(), encoded.bytes.size()};
    REQUIRE(reader(plan));
    REQUIRE(plan.rlimit_count == 1);
    CHECK(plan.rlimits[0].resource == RLIMIT_FSIZE);
    CHECK(plan.rlimits[0].hard == 20);
}

TEST_CASE("a plan that is larger than its message or has too many descriptors is refused") {
    Example example;
    SECTION("filters") {
        example.filters.names.assign(kMaxPlanBytes, 'x');
        const auto refused = encode_plan(example.spec, example.mounts);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().is(Errc::payload_too_large));
    }
    SECTION("descriptors") {
        example.group.fds.assign(sys::kMaxFdsPerMessage, {FdRole::join_procs, 5});
        const auto refused = encode_plan(example.spec, example.mounts);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().is(Errc::invalid_argument));
    }
}

TEST_CASE("an example spec is fine, and each way to spoil it is noticed") {
    Example example;
    REQUIRE(check_spec(example.spec));
    auto& spec = example.spec;
    auto& sources = spec.mounts.sources;
    SECTION("cgroup") {
        spec.cgroup = nullptr;
    }
    SECTION("seccomp") {
        spec.seccomp = nullptr;
    }
    SECTION("an empty filter") {
        example.filters.arguments.clear();
    }
    SECTION("init") {
        spec.init_binary = -1;
    }
    SECTION("listener") {
        spec.agent_listener = -1;
    }
    SECTION("ids of the host") {
        spec.ids.base = 65535;
    }
    SECTION("ids that wrap") {
        spec.ids.base = UINT32_MAX - kIdRange + 1;
    }
    SECTION("no host name") {
        spec.hostname.clear();
    }
    SECTION("long host name") {
        spec.hostname.assign(65, 'a');
    }
    SECTION("rlimits") {
        spec.rlimits.assign(kMaxRlimits + 1, Rlimit{});
    }
    SECTION("no mounts") {
        sources.clear();
    }
    SECTION("two uppers") {
        sources[1] = sources[0];
    }
    SECTION("read-only upper") {
        sources[0].read_only = true;
    }
    SECTION("writable lower") {
        sources[2].read_only = false;
    }
    SECTION("relative bind") {
        sources[3].target = "mnt";
    }
    SECTION("lower after bind") {
        std::swap(sources[2], sources[3]);
    }
    SECTION("too many binds") {
        sources.insert(sources.end(), kMaxBinds, sources[3]);
    }
    const auto refused = check_spec(spec);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().is(Errc::invalid_argument));
}

TEST_CASE("what a jail may do without is passed when it is there") {
    Example example;
    example.spec.first_cpu = 5;
    example.spec.cpu_info = 12;
    for (Fd* fd : {&example.mounts.stage, &example.mounts.shm, &example.mounts.sudo_client}) {
        *fd = get(sys::open("/dev/null", O_RDONLY));
    }
    const EncodedPlan encoded = get(encode_plan(example.spec, example.mounts));
    LaunchPlan plan;
    wire::Reader reader{encoded.bytes.data(), encoded.bytes.size()};
    REQUIRE(reader(plan));
    CHECK(plan.first_cpu == 5);
    CHECK(plan.fd_roles == std::string_view{"\1\2\2\3\4\5\10\14\12\13\15", 11});
    CHECK(encoded.fds[7] == 12);
    CHECK(encoded.fds[10] == example.mounts.sudo_client.get());
}

TEST_CASE("every optional wall has a bit and a name of its own") {
    Walls walls;
    std::vector<std::string> names;
    for (const Wall wall : kWalls) {
        CHECK_FALSE(walls.has(wall));
        walls.add(wall);
        CHECK(walls.has(wall));
        CHECK(std::find(names.begin(), names.end(), wall_name(wall)) == names.end());
        names.emplace_back(wall_name(wall));
        CHECK(names.back() != "unknown");
    }
}

}  // namespace sandboxd::isolation::test
