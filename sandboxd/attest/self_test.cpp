#include "sandboxd/attest/self_test.hpp"

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <charconv>

#include "sandboxd/attest/inspection.hpp"
#include "sandboxd/attest/probe_process.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/core/log.hpp"

namespace sandboxd::attest {

namespace {

using isolation::WallReport;

constexpr auto kEnding = std::chrono::seconds{10};

// Small, so that running into them costs little. The disk is below the memory: where disks are in memory, its limit
// must come first.
policies::Limits test_limits() {
    policies::Limits limits;
    limits.memory_bytes = 48ULL << 20;
    limits.disk_bytes = 32ULL << 20;
    limits.pids = 24;
    return limits;
}

control::CreateSpec test_spec(const NodeIdentity& node) {
    control::CreateSpec spec;
    spec.id = SandboxId::trusted(generate_id(IdKind::sandbox, node));
    spec.template_name = "host";
    spec.hostname = "self-test";
    spec.limits = test_limits();
    return spec;
}

std::vector<std::string> conductor_arguments(const SelfTestPlan& plan) {
    const policies::Limits limits = test_limits();
    const std::string id = std::to_string(plan.uid);
    return {"--conduct", id, id, std::to_string(limits.memory_bytes), std::to_string(limits.disk_bytes), std::to_string(limits.pids), "root"};
}

// One packet of the conductor, which speaks for a jail: every field is checked again. Nothing: it was the last.
Result<std::optional<WallFinding>> finding_of(std::span<const std::byte> packet) {
    wire::Reader reader{packet.data(), packet.size()};
    WallReport report;
    if (!reader(report) || !reader.done() || report.wall > Wall::count || report.status > WallStatus::broken ||
        report.observed.size() > isolation::kMaxObserved) {
        return Error{Errc::protocol_error, "self-test", "malformed report"};
    }
    if (report.wall != Wall::count) return std::optional{WallFinding{report.wall, report.status, std::string{report.observed}}};
    if (report.observed.empty()) return std::optional<WallFinding>{};
    return errno_error(report.error, "self-test", std::string{report.observed});
}

asio::awaitable<Result<std::vector<WallFinding>>> take_reports(const Fd& socket, Deadline deadline) {
    std::vector<WallFinding> tried;
    std::array<std::byte, isolation::kMaxReport> buffer{};
    while (tried.size() <= isolation::kTestedWallCount) {
        SBX_CO_CHECK(co_await wait_fd(socket.get(), Ready::read, deadline));
        SBX_CO_TRY(const sys::Received received, sys::receive_message(socket.get(), buffer));
        if (received.size == 0) co_return Error{Errc::unavailable, "self-test", "sandbox-probe ended early"};
        SBX_CO_TRY(std::optional<WallFinding> finding, finding_of(std::span{buffer}.first(received.size)));
        if (!finding) co_return tried;
        tried.push_back(*std::move(finding));
    }
    co_return Error{Errc::protocol_error, "self-test", "more reports than walls"};
}

// The program that waits in its exec's group, by the host's number.
Result<sys::ProcessIdentity> waiting_program(const control::SandboxHandle& handle) {
    const std::string file = "work/e" + std::to_string(isolation::kUserExec) + "/cgroup.procs";
    SBX_TRY(const std::string text, sys::read_file_at(handle.memory_dir.get(), file.c_str()));
    pid_t pid = 0;
    std::from_chars(text.data(), text.data() + text.size(), pid);
    if (pid <= 0) return Error{Errc::unavailable, "self-test", "the program in the jail is gone"};
    return sys::identify(pid);
}

// Root of the host, without a filter, in the workload's namespace: only the limit of the namespace above is in the way.
asio::awaitable<Result<WallFinding>> try_nested_userns(std::string program, pid_t pid, Deadline deadline) {
    SBX_CO_TRY(const Fd userns, sys::open("/proc/" + std::to_string(pid) + "/ns/user", O_RDONLY));
    std::vector<std::string> arguments{"--nested-userns"};
    SBX_CO_TRY(ProbeProcess probe, ProbeProcess::start(program, std::move(arguments), {userns.get()}));
    SBX_CO_TRY(const sys::ChildExit ended, co_await probe.wait(deadline));
    WallFinding finding{Wall::nested_userns_limit, WallStatus::broken, "unshare got as far as " + std::to_string(ended.status)};
    if (!ended.signaled && ended.status == ENOSPC) {
        finding.status = WallStatus::holds;
        finding.observed = "unshare ENOSPC, as root and without a filter";
    }
    co_return finding;
}

asio::awaitable<Result<std::vector<WallFinding>>> look(const manager::Unlisted& sandbox, const SelfTestPlan& plan, Deadline deadline) {
    SBX_CO_TRY(const sys::ProcessIdentity program, waiting_program(sandbox.handle));
    std::vector<WallFinding> seen = inspect(program.pid, sandbox.ids, plan.secret_path);
    SBX_CO_TRY(WallFinding nested, co_await try_nested_userns(plan.program, program.pid, deadline));
    seen.push_back(std::move(nested));
    // Still the same process: what was read was of it.
    SBX_CO_TRY(const sys::ProcessIdentity again, sys::identify(program.pid));
    if (again != program) co_return Error{Errc::unavailable, "self-test", "the program in the jail is gone"};
    co_return seen;
}

asio::awaitable<Result<std::vector<WallFinding>>> test(const manager::Unlisted& sandbox, const SelfTestPlan& plan, Deadline deadline) {
    SBX_CO_TRY(const Fd program, sys::open(plan.program, O_RDONLY));
    SBX_CO_TRY(sys::SocketPair reports, sys::seqpacket_pair());
    std::vector<int> descriptors{sandbox.handle.agent.get(), reports.second.get(), program.get()};
    SBX_CO_TRY(ProbeProcess conductor, ProbeProcess::start(plan.program, conductor_arguments(plan), descriptors));
    reports.second = Fd{};  // so that its end is seen here
    SBX_CO_TRY(std::vector<WallFinding> tried, co_await take_reports(reports.first, deadline));
    SBX_CO_TRY(std::vector<WallFinding> seen, co_await look(sandbox, plan, deadline));
    co_return put_together(std::move(tried), std::move(seen));
}

}  // namespace

asio::awaitable<Result<TestResult>> run_self_test(manager::Manager& manager, SelfTestPlan plan, Deadline deadline) {
    const auto begun = system_clock().steady();
    TestResult result;
    result.begun = system_clock().wall();
    control::CreateSpec spec = test_spec(plan.node);
    const SandboxId id = spec.id;
    SBX_CO_TRY(const manager::Unlisted sandbox, co_await manager.create_unlisted(std::move(spec), deadline));
    auto walls = co_await test(sandbox, plan, deadline);
    const Deadline ending = Deadline::after(kEnding);
    auto removed = co_await manager.destroy(id, ending);
    if (!removed) log::error("the self-test's sandbox can't be removed", {{"sandbox", id.str()}, {"error", removed.error()}});
    if (!walls) co_return std::move(walls).error();
    result.walls = *std::move(walls);
    result.took = std::chrono::duration_cast<std::chrono::milliseconds>(system_clock().steady() - begun);
    co_return result;
}

}  // namespace sandboxd::attest
