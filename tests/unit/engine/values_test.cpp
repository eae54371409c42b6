// The parts that do no I/O, with times of their own.
#include <catch2/catch.hpp>
#include <boost/asio/io_context.hpp>
#include <cerrno>

#include "sandboxd/engine/admission.hpp"
#include "sandboxd/engine/escrow.hpp"
#include "sandboxd/engine/exec_impl.hpp"
#include "sandboxd/engine/exec_denials.hpp"
#include "sandboxd/engine/exec_launch.hpp"
#include "sandboxd/engine/expiry.hpp"
#include "sandboxd/engine/keyring.hpp"
#include "sandboxd/engine/lifetime.hpp"
#include "sandboxd/engine/sandbox_meter.hpp"
#include "sandboxd/core/sys_io.hpp"

using namespace sandboxd;
using namespace sandboxd::engine;
using namespace std::chrono_literals;

namespace {

const SteadyTime kZero{};
const TenantId kTenant = TenantId::trusted("acme");

policies::TenantLimits ceiling() {
    policies::TenantLimits out;
    out.sandboxes = 2;
    out.creates_per_second = 5;
    return out;
}

Reading reading(std::uint64_t cpu, std::uint64_t memory) { return Reading{cpu, memory, std::nullopt}; }

}  // namespace

TEST_CASE("a sandbox's time starts anew with each use, stands while an exec runs, and is none while paused") {
    Lifetime life{100, ledger::OnTimeout::kill, Lifetime::Kind::confirmed, kZero};
    REQUIRE(life.due() == kZero + 100s);
    life.used(kZero + 50s);
    REQUIRE(life.due() == kZero + 150s);
    life.exec_began(kZero + 60s);
    life.exec_began(kZero + 61s);
    REQUIRE_FALSE(life.due());
    life.exec_ended(kZero + 500s);
    REQUIRE_FALSE(life.due());
    life.exec_ended(kZero + 600s);
    REQUIRE(life.due() == kZero + 700s);
    life.paused(true, kZero + 650s);
    REQUIRE_FALSE(life.due());
    life.paused(false, kZero + 1000s);
    REQUIRE(life.due() == kZero + 1100s);
    life.configure(10, ledger::OnTimeout::pause);
    REQUIRE(life.due() == kZero + 1010s);
    REQUIRE(life.end() == Lifetime::End::pause);
}

TEST_CASE("a provisional sandbox is abandoned after ten seconds unless it was used") {
    Lifetime life{1000, ledger::OnTimeout::kill, Lifetime::Kind::provisional, kZero};
    REQUIRE(life.due() == kZero + 10s);
    REQUIRE(life.end() == Lifetime::End::abandon);
    life.used(kZero + 9s);
    REQUIRE_FALSE(life.provisional());
    REQUIRE(life.due() == kZero + 1009s);
    REQUIRE(life.end() == Lifetime::End::kill);
}

TEST_CASE("the expiry gives what is due in order, once, and as it was set last") {
    asio::io_context context;
    Expiry expiry{context.get_executor()};
    const SandboxId a = SandboxId::trusted("a");
    const SandboxId b = SandboxId::trusted("b");
    expiry.set(a, kZero + 10s);
    expiry.set(b, kZero + 5s);
    REQUIRE(expiry.next() == kZero + 5s);
    expiry.set(b, kZero + 20s);
    REQUIRE(expiry.next() == kZero + 10s);
    REQUIRE(expiry.take_due(kZero + 9s).empty());
    REQUIRE(expiry.take_due(kZero + 30s) == std::vector<SandboxId>{a, b});
    REQUIRE(expiry.take_due(kZero + 30s).empty());
    expiry.set(a, kZero + 1s);
    expiry.set(a, std::nullopt);
    REQUIRE_FALSE(expiry.next());
}

TEST_CASE("a token bucket allows a burst of two seconds' worth, then its rate, and says how long to wait") {
    TokenBucket bucket{kZero};
    std::chrono::milliseconds wait{};
    for (int i = 0; i < 10; ++i) REQUIRE(bucket.take(5, kZero, wait));
    REQUIRE_FALSE(bucket.take(5, kZero, wait));
    REQUIRE(wait == 200ms);
    REQUIRE(bucket.take(5, kZero + 200ms, wait));
    REQUIRE_FALSE(bucket.take(5, kZero + 200ms, wait));
    for (int i = 0; i < 10; ++i) REQUIRE(bucket.take(5, kZero + 3600s, wait));
    REQUIRE_FALSE(bucket.take(5, kZero + 3600s, wait));
}

TEST_CASE("admission refuses with a reason, and a lease gives back what it took") {
    Admission admission;
    control::NodeStatus node;
    node.sandboxes_max = 3;
    node.memory_total_bytes = 4ULL << 30;
    node.memory_available_bytes = 4ULL << 30;
    admission.set_node(node);
    const policies::Limits asked;
    {
        auto one = admission.admit(kTenant, ceiling(), asked, kZero);
        auto two = admission.admit(kTenant, ceiling(), asked, kZero);
        REQUIRE(one);
        REQUIRE(two);
        REQUIRE(admission.admit(kTenant, ceiling(), asked, kZero).error().is(Errc::tenant_quota));
        REQUIRE(admission.admit(TenantId::trusted("b"), ceiling(), asked, kZero));  // given back at once
        auto three = admission.admit(TenantId::trusted("c"), ceiling(), asked, kZero);
        REQUIRE(three);
        REQUIRE(admission.admit(TenantId::trusted("d"), ceiling(), asked, kZero).error().is(Errc::node_full));
    }
    policies::Limits large;
    large.memory_bytes = 5ULL << 30;
    const Error full = admission.admit(kTenant, ceiling(), large, kZero).error();
    REQUIRE(full.is(Errc::node_full));
    REQUIRE(std::any_of(full.facts().begin(), full.facts().end(), [](const auto& fact) { return fact.first == "free"; }));
    large.memory_bytes = 1ULL << 50;
    REQUIRE(admission.admit(kTenant, ceiling(), large, kZero).error().is(Errc::limit_exceeded));
    REQUIRE(admission.admit(kTenant, ceiling(), asked, kZero));
    admission.cordon(true);
    REQUIRE(admission.admit(kTenant, ceiling(), asked, kZero).error().is(Errc::draining));
    REQUIRE(admission.refusals().at("node_full") == 2);
}

TEST_CASE("a lease that moves counts once, and one that changes its size keeps its place") {
    Admission admission;
    policies::TenantLimits limits = ceiling();
    limits.memory_bytes = 1ULL << 30;
    policies::Limits asked;
    asked.memory_bytes = 512ULL << 20;
    auto first = admission.admit(kTenant, limits, asked, kZero);
    Admission::Lease lease = std::move(*first);
    asked.memory_bytes = 1ULL << 30;
    REQUIRE(admission.resize(lease, limits, asked));
    REQUIRE(admission.admit(kTenant, limits, policies::Limits{}, kZero).error().is(Errc::tenant_quota));
    asked.memory_bytes = 2ULL << 30;
    REQUIRE(admission.resize(lease, limits, asked).error().is(Errc::tenant_quota));
    lease = Admission::Lease{};
    REQUIRE(admission.admit(kTenant, limits, policies::Limits{}, kZero));
}

TEST_CASE("escrow takes chunks from its source, says when nothing is left, and gives the rest back") {
    struct Source final : EscrowSource {
        policies::PicoMoney left = 100;
        int asked = 0;
        policies::PicoMoney lease(const TenantId&, policies::PicoMoney least) override {
            ++asked;
            const policies::PicoMoney granted = std::min<policies::PicoMoney>(left, std::max<policies::PicoMoney>(least, 40));
            left -= granted;
            return granted;
        }
        void give_back(const TenantId&, policies::PicoMoney rest) override { left += rest; }
    } source;
    {
        Escrow escrow{source};
        REQUIRE(escrow.open(kTenant));
        REQUIRE(escrow.spend(kTenant, 30));
        REQUIRE(source.asked == 1);
        REQUIRE(escrow.spend(kTenant, 30));
        REQUIRE(source.asked == 2);
    }
    REQUIRE(source.left == 40);
    Escrow escrow{source};
    REQUIRE(escrow.spend(kTenant, 40));
    REQUIRE_FALSE(escrow.spend(kTenant, 1));
    REQUIRE(escrow.open(kTenant).error().is(Errc::tenant_quota));
}

TEST_CASE("the memory integral is exact however the time is cut") {
    Meter whole{{}, kZero};
    Meter pieces{{}, kZero};
    whole.advance(kZero, reading(0, 12'345'677));
    pieces.advance(kZero, reading(0, 12'345'677));
    whole.advance(kZero + 10s, reading(0, 12'345'677));
    for (int i = 1; i <= 9'999; ++i) pieces.advance(kZero + i * 1'000'013ns, reading(0, 12'345'677));
    pieces.advance(kZero + 10s, reading(0, 12'345'677));
    REQUIRE(whole.counters().memory_kib_ms == 12'345'677ULL * 10'000 / 1024);
    REQUIRE(pieces.counters() == whole.counters());
}

TEST_CASE("a meter never falls: not with a lower reading, a missing one, or time that goes back") {
    Meter meter{{}, kZero};
    meter.advance(kZero + 1s, reading(1000, 1 << 20));
    const ledger::Counters before = meter.counters();
    meter.advance(kZero + 2s, reading(500, 0));
    meter.advance(kZero + 1s, reading(700, 0));
    meter.advance(kZero + 3s, Reading{});
    const ledger::Counters after = meter.counters();
    REQUIRE(after.cpu_ns == 1000);
    REQUIRE(after.memory_peak_bytes == 1 << 20);
    REQUIRE(after.memory_kib_ms >= before.memory_kib_ms);
    REQUIRE(after.wall_ns == 3'000'000'000);
    meter.catch_up(10'000'000'000, reading(2000, 1 << 20));
    REQUIRE(meter.counters().wall_ns == 10'000'000'000);
    REQUIRE(meter.counters().memory_kib_ms == after.memory_kib_ms + 7'000 * 1024);
}

TEST_CASE("a sandbox's figures are never below those of its execs together, also over a restart") {
    SandboxMeter meter{SandboxId::trusted("s"), kTenant, {}, kZero};
    (void)meter.begin(1, {}, kZero);
    (void)meter.begin(2, {}, kZero);
    Readings look;
    look.at = kZero + 1s;
    look.sandbox = reading(10, 100);
    look.execs = {{1, reading(600, 4 << 20)}, {2, reading(700, 8 << 20)}};
    meter.apply(look);
    const auto first = meter.end(1, {});
    REQUIRE(first.final);
    REQUIRE(first.counters.cpu_ns == 600);
    const auto row = meter.sandbox_row({}, SandboxMeter::Last::no);
    REQUIRE(row.counters.cpu_ns == 1300);
    std::vector<ledger::Sample> rows;
    meter.rows({}, rows);
    REQUIRE(rows.size() == 2);
    const ledger::Counters of_two = rows[1].counters;
    REQUIRE(row.counters.memory_kib_ms >= first.counters.memory_kib_ms + of_two.memory_kib_ms);

    SandboxMeter next{SandboxId::trusted("s"), kTenant, row.counters, kZero};
    (void)next.begin(2, of_two, kZero);
    look.at = kZero + 1s;
    look.execs = {{2, reading(900, 8 << 20)}};
    next.apply(look);
    REQUIRE(next.sandbox_row({}, SandboxMeter::Last::no).counters.cpu_ns == 1500);
}

TEST_CASE("users are user, root, or strict decimal ids below 65534") {
    REQUIRE(parse_user("user")->uid == 1000);
    REQUIRE(parse_user("root")->home == "/root");
    REQUIRE(parse_user("1000")->name == "user");
    REQUIRE(parse_user("33:44")->gid == 44);
    REQUIRE(parse_user("33:44")->home == "/");
    for (const char* wrong : {"", "65534", "-1", "+1", "01", "1:", ":1", "1:65534", "alice", "1 ", "99999999999"}) REQUIRE_FALSE(parse_user(wrong));
}

TEST_CASE("an exec is planned with the sandbox's env over the defaults and its own over both") {
    ledger::SandboxRecord sandbox;
    sandbox.env = {{"LANG", "de_DE"}, {"B", "sandbox"}};
    sandbox.limits.cpu_milli = 2500;
    sandbox.limits.memory_bytes = 768ULL << 20;
    ExecRequest request;
    request.argv = {"a", "b"};
    request.env = {{"B", "exec"}};
    request.cwd = "sub";
    const auto plan = plan_exec(request, sandbox, {}, 7);
    REQUIRE(plan);
    const auto has = [&](const std::string& variable) { return plan->env.find(variable + '\0') != std::string::npos; };
    REQUIRE(has("LANG=de_DE"));
    REQUIRE(has("B=exec"));
    REQUIRE_FALSE(has("B=sandbox"));
    REQUIRE(plan->env.find(":/run/sandboxd/bin" + std::string{'\0'}) != std::string::npos);
    REQUIRE(has("OMP_NUM_THREADS=3"));
    REQUIRE(has("JAVA_TOOL_OPTIONS=-Xmx384m"));
    REQUIRE_FALSE(has("TERM=xterm-256color"));
    REQUIRE(plan->cwd == "/home/user/sub");
    REQUIRE(plan->message().exec == 7);
    request.timeout_ms = 0;
    REQUIRE(plan_exec(request, sandbox, {}, 1)->timeout_ms == policies::TenantLimits{}.max_exec_ms);
}

TEST_CASE("what no message could carry or no kernel would take is refused, and names the field") {
    const ledger::SandboxRecord sandbox;
    const auto code = [&](const ExecRequest& request) { return plan_exec(request, sandbox, {}, 1).error().errc(); };
    ExecRequest request;
    REQUIRE(code(request) == Errc::invalid_argument);
    request.argv = {"a", std::string("x\0y", 3)};
    REQUIRE(code(request) == Errc::invalid_argument);
    request.argv = {"a", std::string(200'000, 'x')};
    REQUIRE(code(request) == Errc::payload_too_large);
    request.argv = {"a"};
    request.env = {{"A=B", "c"}};
    REQUIRE(code(request) == Errc::invalid_argument);
    request.env = {};
    request.cwd = std::string(5000, '/');
    REQUIRE(code(request) == Errc::invalid_argument);
    request.cwd = {};
    request.output_bytes = 1ULL << 40;
    REQUIRE(code(request) == Errc::limit_exceeded);
    request.output_bytes.reset();
    request.files = {{"", 0644, "x"}};
    REQUIRE(code(request) == Errc::invalid_argument);
}

TEST_CASE("a command is shown quoted and short") {
    REQUIRE(describe_command({"ls", "-l", "a b", "it's"}) == "ls -l 'a b' 'it'\\''s'");
    const std::string shown = describe_command({"python3", "-c", std::string(5000, 'x')});
    REQUIRE(shown.size() <= 1024);
    REQUIRE(shown.substr(shown.size() - 3) == "...");
}

TEST_CASE("an agent's words about an end are bounded by what can be") {
    const WallTime started{1000s};
    const WallTime now{2000s};
    agent::ExecState state;
    state.kind = agent::ExitKind::signaled;
    state.status = 4711;
    state.ended_ns = ~0ULL;
    ExecEnd end = end_of(state, 0, started, now);
    REQUIRE(end.signal == 64);
    REQUIRE(end.time == now);
    state.ended_ns = 0;
    state.kind = agent::ExitKind::exited;
    state.status = -1;
    end = end_of(state, 0, started, now);
    REQUIRE(end.exit_code == 255);
    REQUIRE(end.time >= started);
    REQUIRE(end.time <= now);
}

TEST_CASE("how full the disk is is asked for when it can have become full, and not for a short program on an empty one") {
    using std::chrono::milliseconds;
    constexpr std::uint64_t kGiB = 1ULL << 30;
    CHECK_FALSE(disk_may_be_full(kGiB, 0, milliseconds{3}));
    CHECK_FALSE(disk_may_be_full(kGiB, kGiB / 2, milliseconds{60}));
    CHECK(disk_may_be_full(kGiB, 0, milliseconds{200}));
    CHECK(disk_may_be_full(kGiB, kGiB, milliseconds{0}));
    CHECK(disk_may_be_full(kGiB, kGiB - (1 << 20), milliseconds{0}));
    CHECK(disk_may_be_full(16 << 20, 0, milliseconds{3}));
    CHECK(disk_may_be_full(kGiB, UINT64_MAX - kGiB, milliseconds{-5}));
}

TEST_CASE("what ran out at the end of an exec is told, and only that") {
    policies::Limits limits;
    policies::Denials denials;
    ResourceUse use;
    use.output_cap = limits.output_bytes;
    use.disk_used = limits.disk_bytes / 2;
    add_resources(use, limits, denials);
    CHECK(denials.empty());
    use.oom_kills = 1;
    use.forks_refused = 2;
    use.disk_used = limits.disk_bytes - 4096;
    use.file_size_signal = true;
    use.out_dropped = 3;
    use.err_dropped = 4;
    use.disk_used_before = limits.disk_bytes;
    policies::Denials found_full;
    add_resources(use, limits, found_full);
    CHECK(found_full.list.size() == 5);
    use.failed = true;
    add_resources(use, limits, denials);
    std::string kinds;
    for (const policies::Denial& one : denials.list) kinds += one.kind + " " + std::to_string(one.count) + ",";
    CHECK(kinds == "memory 1,pids 2,disk 1,file_limit 1,output_cap 3,output_cap 4,");
}

TEST_CASE("what the agent says that failed becomes an answer that can be acted on") {
    const auto mapped = [](int error, agent::Step step) {
        agent::Failure failure;
        failure.error = error;
        failure.step = step;
        return exec_failure(failure_error(failure, "exec"), "prog", "/nowhere").errc();
    };
    REQUIRE(mapped(ENOENT, agent::Step::exec) == Errc::command_not_found);
    REQUIRE(mapped(EACCES, agent::Step::exec) == Errc::forbidden);
    REQUIRE(mapped(ENOENT, agent::Step::cwd) == Errc::invalid_argument);
    agent::Failure no_folder;
    no_folder.error = ENOENT;
    no_folder.step = agent::Step::cwd;
    REQUIRE(exec_failure(failure_error(no_folder, "exec"), "prog", "/nowhere").message().find("/nowhere") != std::string::npos);
    REQUIRE(mapped(EPERM, agent::Step::ids) == Errc::forbidden);
    REQUIRE(mapped(EAGAIN, agent::Step::busy) == Errc::limit_exceeded);
    REQUIRE(mapped(EAGAIN, agent::Step::fork) == Errc::limit_exceeded);
    REQUIRE(mapped(EDQUOT, agent::Step::files) == Errc::disk_full);
    REQUIRE(mapped(0, agent::Step::exec) == Errc::protocol_error);
    REQUIRE(mapped(100'000, agent::Step::exec) == Errc::protocol_error);
}

TEST_CASE("a key's hash is found, a wrong or revoked key is not") {
    Keyring keys;
    ledger::KeyRecord record;
    record.id = KeyId::trusted("k1");
    record.hash = sha256("secret");
    keys.put(record);
    REQUIRE(keys.authenticate("secret")->id == record.id);
    REQUIRE_FALSE(keys.authenticate("Secret"));
    REQUIRE(keys.revoke(record.id, {}));
    REQUIRE_FALSE(keys.authenticate("secret"));
    REQUIRE(keys.revoke(record.id, {}).error().is(Errc::conflict));
    REQUIRE(*hash_of_secret("sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b") == sha256("secret"));
    REQUIRE_FALSE(hash_of_secret("sha256:2bb8"));
    REQUIRE(*new_key_secret() != *new_key_secret());
}
