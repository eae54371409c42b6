// The self-test in a real jail: every wall that is needed holds, a filter with a hole is seen, nothing is left.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "sandboxd/attest/self_test.hpp"
#include "sandboxd/core/sys.hpp"
#include "sandboxd/programs.hpp"

using namespace sandboxd;
using namespace sandboxd::attest;

namespace {

Deadline soon() { return Deadline::after(std::chrono::seconds{60}); }

// A manager with a state folder of its own; with the default profile, or another.
class Node {
public:
    explicit Node(std::string profile = std::string{embedded_seccomp_profile()}) {
        char name[] = "/var/tmp/sandboxd-test-attest-XXXXXX";
        folder_ = ::mkdtemp(name);
        manager::ManagerConfig config;
        config.state_dir = folder_;
        config.instance = "attest" + std::to_string(::getpid());
        config.init_binary = *sys::open(SANDBOX_INIT, O_PATH);
        config.seccomp_profile = std::move(profile);
        config.seccomp_strict = std::string{embedded_seccomp_strict()};
        config.seccomp_debug = std::string{embedded_seccomp_debug()};
        config.pool_bytes = 1ULL << 30;
        config.sandboxes_max = 1;
        auto started = run(manager::Manager::start(context_.get_executor(), std::move(config)));
        REQUIRE(started);
        manager = *std::move(started);
    }
    ~Node() {
        CHECK(run(manager->destroy_all(soon())));
        CHECK(run(manager->stop(soon())));
        manager.reset();
        std::filesystem::remove_all(folder_);
    }
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    template <class T>
    T run(asio::awaitable<T> task) {
        std::optional<T> out;
        asio::co_spawn(context_, std::move(task), [&](std::exception_ptr e, T value) {
            if (e) std::rethrow_exception(e);
            out.emplace(std::move(value));
            context_.stop();
        });
        context_.restart();
        context_.run();
        REQUIRE(out.has_value());
        return *std::move(out);
    }
    Result<TestResult> test(const std::string& program = SANDBOX_PROBE) {
        SelfTestPlan plan;
        plan.program = program;
        plan.secret_path = folder_;
        plan.uid = manager->probe_id();
        return run(run_self_test(*manager, std::move(plan), soon()));
    }
    // Of self-tests, whose ids are generated, by what the kernel has.
    [[nodiscard]] std::size_t groups() const {
        std::size_t count = 0;
        std::error_code ignored;
        const std::string mine = "sandboxd-attest" + std::to_string(::getpid());
        for (std::filesystem::recursive_directory_iterator at{"/sys/fs/cgroup", ignored}, end; at != end; at.increment(ignored)) {
            if (at->is_directory(ignored) && at->path().parent_path().filename() == mine && at->path().filename().string().size() == kIdLength) ++count;
        }
        return count;
    }
    [[nodiscard]] bool has_records() const { return !std::filesystem::is_empty(folder_ + "/sandboxes"); }

    std::unique_ptr<manager::Manager> manager;

private:
    asio::io_context context_{1};
    std::string folder_;
};

const WallFinding& of(const TestResult& result, Wall wall) { return result.walls[static_cast<std::size_t>(wall)]; }

// The default profile with one call allowed that it refuses.
std::string profile_with(const char* call) {
    auto profile = nlohmann::json::parse(embedded_seccomp_profile());
    for (auto& [name, calls] : profile["errno"].items()) {
        for (auto at = calls.begin(); at != calls.end();) at = *at == call ? calls.erase(at) : at + 1;
    }
    profile["allow"].push_back(call);
    return profile.dump();
}

}  // namespace

TEST_CASE("every wall that is needed holds in a jail, and the test leaves nothing") {
    if (::geteuid() != 0) {
        WARN("needs root");
        std::exit(77);
    }
    Node node;
    const auto result = node.test();
    REQUIRE(result);
    REQUIRE(result->walls.size() == isolation::kTestedWallCount);
    for (const WallFinding& finding : result->walls) {
        const isolation::WallInfo& info = isolation::wall_info(finding.wall);
        INFO(info.name << ": " << finding.observed);
        CHECK_FALSE(finding.observed.empty());
        CHECK(finding.status != WallStatus::broken);
        if (info.required) CHECK(finding.status == WallStatus::holds);
    }
    CHECK(broken_walls(*result).empty());
    // destroy() completes when no process is left; folders follow.
    CHECK(node.run(node.manager->destroy_all(soon())));
    CHECK(node.groups() == 0);
    CHECK_FALSE(node.has_records());
}

TEST_CASE("a filter with a hole is seen") {
    Node node{profile_with("userfaultfd")};
    const auto result = node.test();
    REQUIRE(result);
    INFO(of(*result, Wall::userfaultfd).observed);
    CHECK(of(*result, Wall::userfaultfd).status == WallStatus::broken);
    CHECK(broken_walls(*result) == std::vector<std::string>{"userfaultfd"});
}

TEST_CASE("the test takes no place of a sandbox, shows up nowhere, and is made while creates are refused") {
    Node node;
    control::CreateSpec spec;
    spec.id = SandboxId::trusted("takestheplace");
    spec.template_name = "host";
    spec.hostname = "sandbox";
    REQUIRE(node.run(node.manager->create(spec, soon())));  // as many as there may be

    node.manager->refuse_creates(Error{Errc::unavailable, "self-test", "a wall is broken"});
    control::CreateSpec more = spec;
    more.id = SandboxId::trusted("anotherone");
    auto refused = node.run(node.manager->create(more, soon()));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().is(Errc::unavailable));
    CHECK(node.run(node.manager->status(soon()))->refusal.find("a wall is broken") != std::string::npos);

    const auto result = node.test();
    REQUIRE(result);
    CHECK(broken_walls(*result).empty());
    node.manager->refuse_creates(std::nullopt);
    CHECK(node.run(node.manager->status(soon()))->refusal.empty());
    CHECK(node.run(node.manager->destroy(spec.id, soon())));
}

TEST_CASE("an unlisted sandbox is neither listed nor counted") {
    Node node;
    control::CreateSpec spec;
    spec.id = SandboxId::trusted("notforeveryone");
    spec.template_name = "host";
    spec.hostname = "self-test";
    auto made = node.run(node.manager->create_unlisted(spec, soon()));
    REQUIRE(made);
    CHECK(node.run(node.manager->list(soon()))->empty());
    CHECK(node.run(node.manager->status(soon()))->sandboxes == 0);
    CHECK(node.run(node.manager->destroy(spec.id, soon())));
}

TEST_CASE("a test that can't be made is an error, not a broken wall, and leaves nothing") {
    Node node;
    // A program that is no sandbox-probe: its end comes before any report.
    const auto result = node.test("/bin/true");
    REQUIRE_FALSE(result);
    CHECK(result.error().message().find("ended early") != std::string::npos);
    CHECK(node.run(node.manager->destroy_all(soon())));
    CHECK(node.groups() == 0);
    CHECK_FALSE(node.has_records());
}
