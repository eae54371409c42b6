#include "sandboxd/engine/engine.hpp"

#include "tests/unit/engine/engine_fixture.hpp"

using namespace sandboxd;
using namespace sandboxd::engine;
using sandboxd::testing::EngineFixture;
using sandboxd::testing::soon;

namespace {

using Fixture = EngineFixture;

std::string joined(std::initializer_list<const char*> strings) {
    std::string out;
    for (const char* text : strings) out.append(text).push_back('\0');
    return out;
}

}  // namespace

TEST_CASE_METHOD(Fixture, "a sandbox is made, runs a program, tells its output and exit, and is destroyed") {
    const SandboxPtr sandbox = create();
    REQUIRE(sandbox->state() == SandboxState::running);
    REQUIRE(sandbox->expires());
    ExecRequest asked = request({"python3", "-c", "print(1)"});
    asked.env = {{"A", "b"}};
    asked.files = {{"data.csv", 0640, "x,y\n"}};
    const ExecPtr exec = this->exec(sandbox, asked);
    REQUIRE(exec->status() == ExecStatus::running);
    REQUIRE(exec->command() == "python3 -c 'print(1)'");
    REQUIRE_FALSE(sandbox->expires());

    auto& program = this->program(sandbox, exec);
    REQUIRE(program.argv == joined({"python3", "-c", "print(1)"}));
    REQUIRE(program.cwd == "/home/user");
    REQUIRE(program.env.find(joined({"A=b"})) != std::string::npos);
    REQUIRE(program.env.find(joined({"HOME=/home/user"})) != std::string::npos);
    REQUIRE(program.env.find(joined({"OPENBLAS_NUM_THREADS=1"})) != std::string::npos);
    REQUIRE(program.files.find("data.csv") != std::string::npos);
    program.print("hello ");
    program.print("world\n");
    program.complain("oops\n");
    program.close_output();
    jail(sandbox).exit(1, 3);
    REQUIRE(wait(exec->wait(soon())));
    REQUIRE(exec->status() == ExecStatus::exited);
    REQUIRE(exec->exit_code() == 3);
    REQUIRE(exec->ended());
    REQUIRE(output(exec->out()) == "hello world\n");
    REQUIRE(output(exec->err()) == "oops\n");
    REQUIRE(exec->out().ended());
    REQUIRE(sandbox->expires());
    until([&] { return program.forgotten; });

    REQUIRE(std::filesystem::exists(dir.path + "/spool/" + sandbox->record().id.str() + "/1.out"));
    REQUIRE(wait(engine->destroy(sandbox, "deleted", soon())));
    REQUIRE(sandbox->state() == SandboxState::gone);
    REQUIRE(node.jails.empty());
    REQUIRE_FALSE(std::filesystem::exists(dir.path + "/spool/" + sandbox->record().id.str()));
    REQUIRE(engine->find(tenant, sandbox->record().id).error().is(Errc::gone));
    REQUIRE(wait(sandbox->exec(request({"true"}), soon())).error().is(Errc::gone));
    REQUIRE(engine->list(tenant, {}).empty());
}

TEST_CASE_METHOD(Fixture, "the answer comes at the main program's end although a child keeps the pipes; later output is kept") {
    const SandboxPtr sandbox = create();
    const ExecPtr exec = this->exec(sandbox, request({"server"}));
    auto& program = this->program(sandbox, exec);
    program.print("started\n");
    jail(sandbox).exit(1, 0);
    REQUIRE(wait(exec->wait(soon())));
    REQUIRE(exec->out().ended());
    REQUIRE_FALSE(program.forgotten);
    program.print("later\n");
    until([&] { return exec->out().size() == 14; });
    REQUIRE(output(exec->out(), 8) == "later\n");
    program.close_output();
    until([&] { return program.forgotten; });
}

TEST_CASE_METHOD(Fixture, "refusals of exec say why: not found, root, limits, unknown ids") {
    CreateRequest no_root;
    no_root.allow_root = false;
    const SandboxPtr sandbox = create(no_root);
    REQUIRE(wait(sandbox->exec(request({"missing"}), soon())).error().is(Errc::command_not_found));
    REQUIRE(wait(sandbox->exec(request({}), soon())).error().is(Errc::invalid_argument));
    ExecRequest root = request({"id"});
    root.user = *parse_user("root");
    REQUIRE(wait(sandbox->exec(root, soon())).error().is(Errc::forbidden));
    ExecRequest long_one = request({"sleep"});
    long_one.timeout_ms = ~0ULL;
    REQUIRE(wait(sandbox->exec(long_one, soon())).error().is(Errc::limit_exceeded));
    REQUIRE(sandbox->find_exec(exec_id_from_number(99)).error().is(Errc::not_found));
    REQUIRE(sandbox->expires());  // refused execs hold nothing open
    REQUIRE(std::filesystem::is_empty(dir.path + "/spool/" + sandbox->record().id.str()));
}

TEST_CASE_METHOD(Fixture, "stdin reaches the program, closing it is told to the agent, and writing after that is refused") {
    const SandboxPtr sandbox = create();
    ExecRequest asked = request({"cat"});
    asked.stdin_mode = StdinMode::pipe;
    const ExecPtr exec = this->exec(sandbox, asked);
    auto& program = this->program(sandbox, exec);
    REQUIRE(wait(exec->write_stdin("some input", soon())));
    std::array<std::byte, 64> got{};
    auto n = sys::read_some(program.in.get(), got);
    REQUIRE(n);
    REQUIRE(*n == 10);
    // More than the pipe holds waits, up to the deadline.
    const Deadline brief = Deadline::after(std::chrono::milliseconds{50});
    REQUIRE(wait(exec->write_stdin(std::string(1 << 20, 'x'), brief)).error().is(Errc::timeout));
    REQUIRE(wait(exec->close_stdin(soon())));
    REQUIRE(wait(exec->write_stdin("more", soon())).error().is(Errc::unavailable));
}

TEST_CASE_METHOD(Fixture, "how a program ended: signal, memory, deadline") {
    const SandboxPtr sandbox = create();
    const ExecPtr killed = exec(sandbox, request({"a"}));
    const ExecPtr starved = exec(sandbox, request({"b"}));
    const ExecPtr late = exec(sandbox, request({"c"}));
    const ExecPtr coped = exec(sandbox, request({"d"}));
    for (const ExecPtr& e : {killed, starved, late, coped}) program(sandbox, e).close_output();
    jail(sandbox).exit(1, 15, agent::ExitKind::signaled);
    jail(sandbox).set_oom_kills(2, 1);
    jail(sandbox).exit(2, 9, agent::ExitKind::signaled);
    program(sandbox, late).state.timed_out = true;
    jail(sandbox).exit(3, 9, agent::ExitKind::signaled);
    jail(sandbox).set_oom_kills(4, 1);
    jail(sandbox).exit(4, 0);
    for (const ExecPtr& e : {killed, starved, late, coped}) REQUIRE(wait(e->wait(soon())));
    REQUIRE(killed->status() == ExecStatus::signaled);
    REQUIRE(killed->signal() == 15);
    REQUIRE(killed->exit_code() == 143);
    REQUIRE(starved->status() == ExecStatus::oom_killed);
    REQUIRE(late->status() == ExecStatus::timed_out);
    REQUIRE(coped->status() == ExecStatus::exited);
}

TEST_CASE_METHOD(Fixture, "a chosen id is idempotent, with other values it is a conflict, and it is not used twice") {
    CreateRequest asked;
    asked.id = SandboxId::trusted("myownsandbox1");
    asked.metadata = {{"k", "v"}};
    const SandboxPtr first = create(asked);
    REQUIRE(create(asked) == first);
    REQUIRE(node.creates == 1);
    CreateRequest other = asked;
    other.timeout_s = 77;
    REQUIRE(wait(engine->create(tenant, other, soon())).error().is(Errc::conflict));
    REQUIRE(wait(engine->destroy(first, "deleted", soon())));
    REQUIRE(wait(engine->create(tenant, asked, soon())).error().is(Errc::conflict));
    stop();
    start();
    REQUIRE(wait(engine->create(tenant, asked, soon())).error().is(Errc::conflict));
}

TEST_CASE_METHOD(Fixture, "two creates of one id at the same time give one sandbox") {
    Event gate{context.get_executor()};
    node.hold_create = &gate;
    CreateRequest asked;
    asked.id = SandboxId::trusted("twiceatonce1");
    std::vector<SandboxPtr> got;
    for (int i = 0; i < 2; ++i) {
        asio::co_spawn(context, engine->create(tenant, asked, soon()), [&](std::exception_ptr, Result<SandboxPtr> r) {
            REQUIRE(r);
            got.push_back(*r);
        });
    }
    bool opened = false;
    until([&] {
        if (!opened && node.creates == 0) gate.notify();
        return got.size() == 2;
    });
    REQUIRE(got[0] == got[1]);
    REQUIRE(node.creates == 1);
    node.hold_create = nullptr;
}

TEST_CASE_METHOD(Fixture, "quota is a lease: given back at the end and after a create that failed") {
    ledger::TenantRecord small;
    small.id = tenant;
    small.limits.sandboxes = 1;
    REQUIRE(wait(engine->put_tenant(small)));
    node.refuse_create = Error{Errc::disk_full, "create", "no room"};
    REQUIRE(wait(engine->create(tenant, {}, soon())).error().is(Errc::disk_full));
    node.refuse_create.reset();
    const SandboxPtr one = create();
    auto refused = wait(engine->create(tenant, {}, soon()));
    REQUIRE(refused.error().is(Errc::tenant_quota));
    REQUIRE(engine->stats().refusals_total.at("tenant_quota") == 1);
    REQUIRE(wait(engine->destroy(one, "deleted", soon())));
    create();
    engine->cordon(true);
    REQUIRE(wait(engine->create(tenant, {}, soon())).error().is(Errc::draining));
}

TEST_CASE_METHOD(Fixture, "another tenant's sandbox does not exist") {
    const SandboxPtr sandbox = create();
    REQUIRE(engine->find(TenantId::trusted("other"), sandbox->record().id).error().is(Errc::not_found));
    REQUIRE(engine->list(TenantId::trusted("other"), {}).empty());
    SandboxFilter filter;
    filter.metadata = {{"a", "b"}};
    REQUIRE(engine->list(tenant, filter).empty());
    REQUIRE(engine->list(tenant, {}).size() == 1);
}

TEST_CASE_METHOD(Fixture, "a sandbox whose time is over is destroyed, or paused and then resumed") {
    CreateRequest brief;
    brief.timeout_s = 1;
    const SandboxPtr killed = create(brief);
    brief.on_timeout = ledger::OnTimeout::pause;
    const SandboxPtr paused = create(brief);
    until([&] { return killed->state() == SandboxState::gone && paused->state() == SandboxState::paused; });
    REQUIRE(node.jail(paused->record().id).frozen);
    REQUIRE_FALSE(paused->expires());
    REQUIRE(wait(paused->exec(request({"true"}), soon())).error().is(Errc::conflict));
    REQUIRE(wait(paused->resume(soon())));
    REQUIRE(paused->state() == SandboxState::running);
    REQUIRE(paused->expires());
}

TEST_CASE_METHOD(Fixture, "limits are changed on the node and in the quota, or not at all") {
    const SandboxPtr sandbox = create();
    SandboxUpdate update;
    update.limits = policies::Limits{2000, 1ULL << 30, 1ULL << 30, 256, 64ULL << 20};
    update.metadata = std::map<std::string, std::string>{{"a", "b"}};
    REQUIRE(wait(sandbox->update(update, soon())));
    REQUIRE(sandbox->record().limits == *update.limits);
    REQUIRE(node.last_limits == update.limits);
    node.refuse_limits = Error{Errc::conflict, "limits", "in use"};
    update.limits->memory_bytes = 2ULL << 30;
    REQUIRE(wait(sandbox->update(update, soon())).error().is(Errc::conflict));
    REQUIRE(sandbox->record().limits.memory_bytes == 1ULL << 30);
    update.limits->memory_bytes = 1ULL << 50;
    REQUIRE(wait(sandbox->update(update, soon())).error().is(Errc::limit_exceeded));
}

TEST_CASE_METHOD(Fixture, "destroy goes on until the node obeys, and the client hears when its time is over") {
    const SandboxPtr sandbox = create();
    node.failing_destroys = 1;
    const Deadline brief = Deadline::after(std::chrono::milliseconds{20});
    REQUIRE(wait(engine->destroy(sandbox, "deleted", brief)).error().is(Errc::timeout));
    REQUIRE(sandbox->state() == SandboxState::ending);
    until([&] { return sandbox->state() == SandboxState::gone; });
    REQUIRE(node.destroys == 2);
}

TEST_CASE_METHOD(Fixture, "a sandbox that the node loses ends, and its programs count as lost") {
    const SandboxPtr sandbox = create();
    const ExecPtr exec = this->exec(sandbox, request({"sleep"}));
    node.on_gone(sandbox->record().id, control::GoneReason::init_died);
    REQUIRE(wait(exec->wait(soon())));
    REQUIRE(exec->status() == ExecStatus::lost);
    until([&] { return sandbox->state() == SandboxState::gone; });
    REQUIRE(sandbox->record().end_reason == "init died");
}

TEST_CASE_METHOD(Fixture, "figures come from the cgroups, the sandbox's are never below its programs', and the ledger has them") {
    const SandboxPtr sandbox = create();
    const ExecPtr exec = this->exec(sandbox, request({"burn"}));
    jail(sandbox).set_counters("", 5'000'000, 1 << 20);
    jail(sandbox).set_counters("work/e1", 7'000'000, 8 << 20);
    program(sandbox, exec).close_output();
    jail(sandbox).exit(1, 0);
    REQUIRE(wait(exec->wait(soon())));
    const ledger::Counters program = exec->usage().counters;
    const ledger::Counters whole = sandbox->usage().counters;
    REQUIRE(program.cpu_ns == 7'000'000);
    REQUIRE(program.memory_peak_bytes == 8 << 20);
    REQUIRE(whole.cpu_ns >= program.cpu_ns);
    REQUIRE(whole.memory_kib_ms >= program.memory_kib_ms);
    REQUIRE(wait(engine->destroy(sandbox, "deleted", soon())));
    ledger::UsageQuery query;
    query.to = WallTime::max();
    query.group_by = ledger::GroupBy::exec;
    auto page = wait(engine->usage(query));
    REQUIRE(page);
    REQUIRE(page->rows.size() == 2);
    REQUIRE(page->rows[0].exec == exec->id().str());
    REQUIRE(page->rows[0].usage.counters.cpu_ns == 7'000'000);
    REQUIRE(page->total.counters.cpu_ns == whole.cpu_ns);
    REQUIRE(page->total.cost > 0);
}

TEST_CASE_METHOD(Fixture, "while a program runs its figures grow with each second's look") {
    const SandboxPtr sandbox = create();
    const ExecPtr exec = this->exec(sandbox, request({"burn"}));
    jail(sandbox).set_counters("", 900, 4 << 20);
    jail(sandbox).set_counters("work/e1", 800, 4 << 20);
    until([&] { return exec->usage().counters.cpu_ns == 800; });
    REQUIRE(exec->usage().counters.wall_ns > 0);
    REQUIRE(sandbox->usage().counters.disk_bytes == 4096);
    until([&] { return engine->stats().ledger_rows_total >= 2; });
}

TEST_CASE_METHOD(Fixture, "finished programs are kept up to a number, with their output") {
    stop();
    config.finished_execs_kept = 2;
    start();
    const SandboxPtr sandbox = create();
    for (std::uint64_t i = 1; i <= 4; ++i) {
        const ExecPtr exec = this->exec(sandbox, request({"echo"}));
        auto& program = this->program(sandbox, exec);
        program.print("x");
        program.close_output();
        jail(sandbox).exit(i, 0);
        REQUIRE(wait(exec->wait(soon())));
        until([&] { return program.forgotten; });
    }
    until([&] { return sandbox->execs().size() == 2; });
    REQUIRE(sandbox->execs().front()->id() == exec_id_from_number(3));
    REQUIRE_FALSE(std::filesystem::exists(dir.path + "/spool/" + sandbox->record().id.str() + "/1.out"));
}

TEST_CASE_METHOD(Fixture, "drain waits for the programs that run") {
    const SandboxPtr sandbox = create();
    const ExecPtr exec = this->exec(sandbox, request({"work"}));
    // Shared: a requirement that fails leaves the drain behind, until the fixture goes.
    const auto done = std::make_shared<bool>(false);
    asio::co_spawn(context, engine->drain(soon()), [done](std::exception_ptr) { *done = true; });
    until([&] { return engine->cordoned(); });
    REQUIRE_FALSE(*done);
    program(sandbox, exec).close_output();
    jail(sandbox).exit(1, 0);
    until([&] { return *done; });
}

TEST_CASE_METHOD(Fixture, "keys are made, known by their hash after a restart, and revoked") {
    auto key = wait(engine->create_key(tenant, "laptop", false));
    REQUIRE(key);
    REQUIRE(key->secret.size() == 47);
    REQUIRE(key->secret.substr(0, 4) == "sbx_");
    REQUIRE(wait(engine->ensure_key(tenant, "dev-secret", "dev", true)));
    REQUIRE(wait(engine->ensure_key(tenant, "dev-secret", "dev", true)));
    REQUIRE(engine->keys().size() == 2);
    stop();
    start();
    REQUIRE(engine->authenticate(key->secret)->tenant == tenant);
    REQUIRE(engine->authenticate("dev-secret")->admin);
    REQUIRE_FALSE(engine->authenticate("sbx_wrong"));
    REQUIRE(wait(engine->revoke_key(key->record.id)));
    REQUIRE_FALSE(engine->authenticate(key->secret));
    REQUIRE(wait(engine->revoke_key(KeyId::trusted("nope"))).error().is(Errc::not_found));
    // SHA-256 of "abc": what a configuration holds.
    REQUIRE(wait(engine->ensure_key(tenant, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "config", false)));
    REQUIRE(engine->authenticate("abc"));
}
