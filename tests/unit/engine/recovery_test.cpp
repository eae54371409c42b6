// What a new engine makes of what the last one left: by an orderly stop, or by a crash (no last word to the database).
#include "tests/unit/engine/engine_fixture.hpp"

using namespace sandboxd;
using namespace sandboxd::engine;
using sandboxd::testing::EngineFixture;
using sandboxd::testing::soon;

namespace {

using Fixture = EngineFixture;

// The state folder as it was at one moment: what a crash right then leaves.
void copy_database(const std::string& from, const std::string& to) {
    std::filesystem::create_directories(to);
    for (const char* name : {"state.db", "state.db-wal"}) {
        if (std::filesystem::exists(from + "/" + name)) std::filesystem::copy_file(from + "/" + name, to + "/" + name);
    }
}

}  // namespace

TEST_CASE_METHOD(Fixture, "programs and their streams go on over a restart, at the byte where they were") {
    const SandboxPtr before = create();
    const SandboxId id = before->record().id;
    const ExecPtr old = exec(before, request({"work", "hard"}));
    auto& program = this->program(before, old);
    program.print("before ");
    until([&] { return old->out().size() == 7; });
    stop();
    program.print("between ");
    start();
    const SandboxPtr sandbox = *engine->find(tenant, id);
    REQUIRE(sandbox->state() == SandboxState::running);
    REQUIRE_FALSE(sandbox->expires());
    const ExecPtr exec = *sandbox->find_exec(exec_id_from_number(1));
    REQUIRE(exec->status() == ExecStatus::running);
    REQUIRE(exec->command() == "work hard");
    REQUIRE_FALSE(exec->out().ended());
    program.print("after");
    program.close_output();
    node.jail(id).exit(1, 0);
    REQUIRE(wait(exec->wait(soon())));
    REQUIRE(output(exec->out()) == "before between after");
    // Numbers go on too.
    REQUIRE(this->exec(sandbox, request({"next"}))->id() == exec_id_from_number(2));
}

TEST_CASE_METHOD(Fixture, "a program that ended while the daemon was away has its exit and all of its output") {
    const SandboxPtr before = create();
    const SandboxId id = before->record().id;
    const ExecPtr old = exec(before, request({"work"}));
    auto& program = this->program(before, old);
    stop();
    program.print("last words");
    program.close_output();
    node.jail(id).set_counters("work/e1", 42'000, 1 << 20);
    node.jail(id).hang_up();
    node.jail(id).exit(1, 7);
    start();
    const ExecPtr exec = *(*engine->find(tenant, id))->find_exec(exec_id_from_number(1));
    REQUIRE(wait(exec->wait(soon())));
    REQUIRE(exec->exit_code() == 7);
    REQUIRE(output(exec->out()) == "last words");
    REQUIRE(exec->usage().counters.cpu_ns == 42'000);
    until([&] { return program.forgotten; });
}

TEST_CASE_METHOD(Fixture, "finished programs are remembered with their output and figures") {
    const SandboxPtr before = create();
    const ExecPtr old = exec(before, request({"work"}));
    program(before, old).print("done");
    program(before, old).close_output();
    jail(before).set_counters("work/e1", 1'000, 4096);
    jail(before).exit(1, 1);
    REQUIRE(wait(old->wait(soon())));
    const SandboxId id = before->record().id;
    stop();
    start();
    const ExecPtr exec = *(*engine->find(tenant, id))->find_exec(exec_id_from_number(1));
    REQUIRE(exec->status() == ExecStatus::exited);
    REQUIRE(exec->exit_code() == 1);
    // The engine may have stopped before the agent was told to forget: then the end of the stream is seen anew.
    until([&] { return exec->out().ended(); });
    REQUIRE(output(exec->out()) == "done");
    REQUIRE(exec->usage().counters.cpu_ns == 1'000);
    REQUIRE((*engine->find(tenant, id))->expires());
}

TEST_CASE_METHOD(Fixture, "figures go on from the ledger and the kernel's counters, and never fall") {
    const SandboxPtr before = create();
    const SandboxId id = before->record().id;
    const ExecPtr old = exec(before, request({"work"}));
    jail(before).set_counters("", 10'000'000, 1 << 20);
    jail(before).set_counters("work/e1", 9'000'000, 1 << 20);
    until([&] { return old->usage().counters.cpu_ns == 9'000'000; });
    const ledger::Counters then = before->usage().counters;
    stop();
    node.jail(id).set_counters("", 30'000'000, 1 << 20);
    node.jail(id).set_counters("work/e1", 29'000'000, 1 << 20);
    start();
    const SandboxPtr sandbox = *engine->find(tenant, id);
    const ExecPtr exec = *sandbox->find_exec(exec_id_from_number(1));
    REQUIRE(exec->usage().counters.cpu_ns == 29'000'000);
    const ledger::Counters now = sandbox->usage().counters;
    REQUIRE(now.cpu_ns == 30'000'000);
    REQUIRE(now.wall_ns >= then.wall_ns);
    REQUIRE(now.memory_kib_ms >= then.memory_kib_ms);
}

TEST_CASE_METHOD(Fixture, "what the node no longer has is lost, what nobody recorded is removed, stray spool folders too") {
    const SandboxPtr before = create();
    const SandboxId id = before->record().id;
    exec(before, request({"work"}));
    stop();
    node.jails.erase(id);
    const SandboxId stranger = SandboxId::trusted("stranger0001");
    node.jails[stranger] = std::make_shared<sandboxd::testing::FakeJail>(context.get_executor(), dir.path + "/stranger");
    std::filesystem::create_directories(dir.path + "/spool/leftover");
    start();
    REQUIRE(engine->find(tenant, id).error().is(Errc::gone));
    until([&] { return node.jails.empty(); });
    REQUIRE(std::filesystem::is_empty(dir.path + "/spool"));
    ledger::UsageQuery query;
    query.to = WallTime::max();
    query.group_by = ledger::GroupBy::sandbox;
    REQUIRE(wait(engine->usage(query))->rows.size() == 1);
}

TEST_CASE_METHOD(Fixture, "a program that the agent no longer knows is lost") {
    const SandboxPtr before = create();
    const SandboxId id = before->record().id;
    exec(before, request({"work"}));
    stop();
    node.jail(id).programs.clear();
    start();
    const SandboxPtr sandbox = *engine->find(tenant, id);
    const ExecPtr exec = *sandbox->find_exec(exec_id_from_number(1));
    REQUIRE(exec->status() == ExecStatus::lost);
    REQUIRE(exec->out().ended());
    REQUIRE(sandbox->expires());
}

TEST_CASE_METHOD(Fixture, "a program that was started but not recorded before a crash is adopted by its spill file") {
    const SandboxPtr before = create();
    const SandboxId id = before->record().id;
    REQUIRE(wait(before->update({}, soon())));  // the sandbox itself is recorded
    copy_database(dir.path, dir.path + "/crashed");
    const ExecPtr old = exec(before, request({"work"}));
    program(before, old).print("precious");
    until([&] { return old->out().size() == 8; });
    stop();
    for (const char* name : {"state.db", "state.db-wal", "state.db-shm"}) std::filesystem::remove(dir.path + "/" + name);
    copy_database(dir.path + "/crashed", dir.path);
    start();
    const ExecPtr exec = *(*engine->find(tenant, id))->find_exec(exec_id_from_number(1));
    REQUIRE(exec->status() == ExecStatus::running);
    REQUIRE(output(exec->out()) == "precious");
    REQUIRE(node.jail(id).program(1).state.kind == agent::ExitKind::running);
}

TEST_CASE_METHOD(Fixture, "an exec of the agent that has no spill file is killed and forgotten") {
    const SandboxPtr before = create();
    const SandboxId id = before->record().id;
    stop();
    sandboxd::testing::FakeProgram stray;
    stray.state.exec = 77;
    auto out = sys::pipe();
    auto err = sys::pipe();
    stray.kept.push_back(std::move(out->read));
    stray.kept.push_back(std::move(err->read));
    stray.out = std::move(out->write);
    stray.err = std::move(err->write);
    node.jail(id).programs.emplace(77, std::move(stray));
    start();
    until([&] { return node.jail(id).program(77).forgotten; });
    REQUIRE((*engine->find(tenant, id))->execs().empty());
}

TEST_CASE_METHOD(Fixture, "a paused sandbox is taken up without its agent, which is asked after the resume") {
    const SandboxPtr before = create();
    const SandboxId id = before->record().id;
    const ExecPtr old = exec(before, request({"work"}));
    REQUIRE(wait(before->pause(soon())));
    auto& program = this->program(before, old);
    // Frozen: nothing is answered.
    node.jail(id).intercept = [](sandboxd::testing::FakeJail& jail, const agent::Header&, wire::Reader) { return jail.frozen; };
    stop();
    start();
    const SandboxPtr sandbox = *engine->find(tenant, id);
    REQUIRE(sandbox->state() == SandboxState::paused);
    const ExecPtr exec = *sandbox->find_exec(exec_id_from_number(1));
    REQUIRE(exec->status() == ExecStatus::running);
    REQUIRE(wait(sandbox->resume(soon())));
    node.jail(id).hang_up();  // what was asked of a frozen fake is not asked again by itself
    program.print("awake");
    until([&] { return exec->out().size() == 5; });
}

TEST_CASE_METHOD(Fixture, "one sandbox that can't be reached does not hold up the others") {
    const SandboxPtr good = create();
    const SandboxPtr bad = create();
    const SandboxId good_id = good->record().id;
    const SandboxId bad_id = bad->record().id;
    stop();
    node.jail(bad_id).intercept = [](sandboxd::testing::FakeJail&, const agent::Header&, wire::Reader) { return true; };  // never answers
    const auto begun = std::chrono::steady_clock::now();
    start();
    REQUIRE(std::chrono::steady_clock::now() - begun < std::chrono::seconds{8});
    const SandboxPtr sandbox = *engine->find(tenant, good_id);
    exec(sandbox, request({"true"}));
    REQUIRE((*engine->find(tenant, bad_id))->state() == SandboxState::running);
    REQUIRE(wait(engine->destroy(*engine->find(tenant, bad_id), "deleted", soon())));
}

TEST_CASE_METHOD(Fixture, "when the agent's connection breaks it is made again, and running programs do not notice") {
    const SandboxPtr sandbox = create();
    const ExecPtr exec = this->exec(sandbox, request({"work"}));
    auto& program = this->program(sandbox, exec);
    program.print("one ");
    jail(sandbox).hang_up();
    until([&] { return jail(sandbox).connections == 2; });
    program.print("two");
    program.close_output();
    const ExecPtr next = this->exec(sandbox, request({"after"}));  // waits for the connection
    jail(sandbox).exit(1, 0);
    REQUIRE(wait(exec->wait(soon())));
    REQUIRE(output(exec->out()) == "one two");
    REQUIRE(next->status() == ExecStatus::running);
}
