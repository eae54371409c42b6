// An agent that the jail's code has taken over: floods, lies, answers twice or never, hands over wrong descriptors.
#include <sys/stat.h>

#include "sandboxd/core/sys.hpp"
#include "tests/unit/engine/engine_fixture.hpp"

using namespace sandboxd;
using namespace sandboxd::engine;
using sandboxd::testing::EngineFixture;
using sandboxd::testing::FakeJail;
using sandboxd::testing::soon;

namespace {

using Fixture = EngineFixture;

std::size_t open_descriptors() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) ++count;
    return count;
}

// Another sandbox works as if nothing was.
void check_neighbour(Fixture& fixture, const SandboxPtr& neighbour) {
    const ExecPtr exec = fixture.exec(neighbour, Fixture::request({"true"}));
    fixture.program(neighbour, exec).print("fine");
    fixture.program(neighbour, exec).close_output();
    fixture.jail(neighbour).exit(*exec_number(exec->id().str()), 0);
    REQUIRE(fixture.wait(exec->wait(soon())));
    REQUIRE(fixture.output(exec->out()) == "fine");
}

agent::ExecState ended(std::uint64_t exec) {
    agent::ExecState state;
    state.exec = exec;
    state.kind = agent::ExitKind::exited;
    return state;
}

}  // namespace

TEST_CASE_METHOD(Fixture, "an agent that tells of execs that do not exist loses its connection, not its neighbours theirs") {
    const SandboxPtr neighbour = create();
    const SandboxPtr sandbox = create();
    for (std::uint64_t i = 0; i < 100; ++i) jail(sandbox).send(agent::Type::exec_exited, 0, ended(1000 + i));
    until([&] { return jail(sandbox).connections == 2; });
    REQUIRE(sandbox->execs().empty());
    check_neighbour(*this, neighbour);
    // The honest agent of the second connection works.
    exec(sandbox, request({"true"}));
}

namespace {

agent::ExecRefusals refusals(std::uint64_t exec, std::uint32_t used, std::uint64_t count) {
    agent::ExecRefusals out;
    out.exec = exec;
    out.used = used;
    for (std::uint32_t i = 0; i < std::min<std::uint32_t>(used, agent::kMaxRefusals); ++i) {
        out.list[i].number = static_cast<std::uint16_t>(i == 0 ? 165 : 60000 + i);
        out.list[i].count = count;
    }
    return out;
}

}  // namespace

TEST_CASE_METHOD(Fixture, "what an agent tells of refused calls is bounded, whatever it says") {
    const SandboxPtr neighbour = create();
    const SandboxPtr sandbox = create();
    const ExecPtr exec = this->exec(sandbox, request({"work"}));
    agent::ExecRefusals odd = refusals(1, agent::kMaxRefusals, UINT64_MAX);
    odd.others = UINT64_MAX;
    jail(sandbox).send(agent::Type::exec_refusals, 0, odd);
    until([&] { return exec->denials().list.size() == agent::kMaxRefusals; });
    REQUIRE(exec->denials().others == UINT64_MAX);
    REQUIRE(exec->denials().list[0].what == "mount");
    REQUIRE(exec->denials().list[1].what == "syscall 60001");
    SECTION("more entries than there can be") {
        for (int i = 0; i < 40; ++i) jail(sandbox).send(agent::Type::exec_refusals, 0, refusals(1, agent::kMaxRefusals + 1, 1));
    }
    SECTION("arguments that no call has") {
        odd.list[3].shown[1] = 7;
        for (int i = 0; i < 40; ++i) jail(sandbox).send(agent::Type::exec_refusals, 0, odd);
    }
    SECTION("execs that do not exist") {
        for (std::uint64_t i = 0; i < 100; ++i) jail(sandbox).send(agent::Type::exec_refusals, 0, refusals(1000 + i, 1, 1));
    }
    SECTION("a body that is too short") { jail(sandbox).send(agent::Type::exec_refusals, 0, agent::Empty{}); }
    until([&] { return jail(sandbox).connections == 2; });
    check_neighbour(*this, neighbour);
}

TEST_CASE_METHOD(Fixture, "refused calls are told with the exec, also when they come before its start was looked at") {
    const SandboxPtr sandbox = create();
    jail(sandbox).send(agent::Type::exec_refusals, 0, refusals(1, 1, 4));  // the first exec will be number 1
    const ExecPtr exec = this->exec(sandbox, request({"work"}));
    REQUIRE(exec->denials().list.size() == 1);
    REQUIRE(exec->denials().list[0].count == 4);
    jail(sandbox).send(agent::Type::exec_refusals, 0, refusals(1, 2, 9));
    program(sandbox, exec).close_output();
    jail(sandbox).exit(1, 0);
    REQUIRE(wait(exec->wait(soon())));
    REQUIRE(exec->denials().list.size() == 2);
    REQUIRE(exec->denials().list[0].count == 9);
    jail(sandbox).send(agent::Type::exec_refusals, 0, refusals(1, 3, 99));  // of programs in the background
    this->exec(sandbox, request({"true"}));
    REQUIRE(exec->denials().list.size() == 2);
}

TEST_CASE_METHOD(Fixture, "an exit told twice counts once, and the first one stands") {
    const SandboxPtr sandbox = create();
    const ExecPtr exec = this->exec(sandbox, request({"work"}));
    program(sandbox, exec).close_output();
    jail(sandbox).exit(1, 3);
    jail(sandbox).exit(1, 4);
    REQUIRE(wait(exec->wait(soon())));
    jail(sandbox).exit(1, 5);
    check_neighbour(*this, sandbox);
    REQUIRE(exec->exit_code() == 3);
    REQUIRE(engine->stats().execs_running == 0);
}

TEST_CASE_METHOD(Fixture, "replies that nobody waits for are ignored, their descriptors closed, and too many end the connection") {
    const SandboxPtr neighbour = create();
    const SandboxPtr sandbox = create();
    check_neighbour(*this, sandbox);
    const std::size_t before = open_descriptors();
    auto pipe = sys::pipe();
    for (std::uint32_t i = 0; i < 20; ++i) jail(sandbox).send(agent::Type::exec_started, 5000 + i, agent::ExecStarted{}, {pipe->read.get(), pipe->write.get()});
    check_neighbour(*this, sandbox);  // read after the flood: messages come in order
    REQUIRE(jail(sandbox).connections == 1);
    for (std::uint32_t i = 0; i < 200; ++i) jail(sandbox).send(agent::Type::ok, 5000 + i, agent::Empty{});
    until([&] { return jail(sandbox).connections == 2; });
    check_neighbour(*this, neighbour);
    REQUIRE(open_descriptors() <= before + 16);
}

TEST_CASE_METHOD(Fixture, "a message of another protocol, or half of one, ends the connection") {
    const SandboxPtr sandbox = create();
    const std::array<std::byte, 3> noise{};
    int expected = 1;
    SECTION("noise") { REQUIRE(sys::send_message(jail(sandbox).socket->get(), noise)); }
    SECTION("a body that is too long") { jail(sandbox).send(agent::Type::exec_exited, 0, agent::FileInfo{}); }
    SECTION("a greeting that announces too much") {
        node.intercept = [](FakeJail& jail, const agent::Header& header, wire::Reader) {
            if (header.type != agent::Type::hello || jail.connections > 1) return false;
            agent::HelloOk ok;
            ok.execs = 1'000'000;
            jail.send(agent::Type::hello_ok, header.request, ok);
            return true;
        };
        const SandboxPtr other = create();
        until([&] { return jail(other).connections == 2; });
        exec(other, request({"true"}));
        return;
    }
    until([&] { return jail(sandbox).connections == expected + 1; });
    exec(sandbox, request({"true"}));
}

TEST_CASE_METHOD(Fixture, "descriptors of the wrong kind or number are refused, closed, and the exec is killed") {
    auto pipe = sys::pipe();
    Fd file = *sys::open(dir.path + "/file", O_RDWR | O_CREAT, 0600);
    Fd zero = *sys::open("/dev/zero", O_RDONLY);
    std::vector<int> given;
    std::uint64_t confirmed = 1;
    ExecRequest asked = request({"work"});
    SECTION("a file for a pipe") { given = {file.get(), pipe->read.get()}; }
    SECTION("one too few") { given = {pipe->read.get()}; }
    SECTION("one too many") { given = {pipe->read.get(), pipe->read.get(), pipe->write.get()}; }
    SECTION("none") {}
    SECTION("another exec's number") {
        given = {pipe->read.get(), pipe->read.get()};
        confirmed = 99;
    }
    SECTION("an endless device for a terminal") {
        given = {zero.get(), pipe->read.get(), pipe->write.get()};
        asked.pty = true;
    }
    bool killed = false;
    node.intercept = [&](FakeJail& jail, const agent::Header& header, wire::Reader) {
        if (header.type == agent::Type::signal) killed = true;
        if (header.type != agent::Type::exec) return false;
        agent::ExecStarted started;
        started.exec = confirmed;
        jail.send(agent::Type::exec_started, header.request, started, given);
        return true;
    };
    const SandboxPtr sandbox = create();
    const std::size_t before = open_descriptors();
    auto refused = wait(sandbox->exec(asked, soon()));
    REQUIRE(refused.error().is(Errc::protocol_error));
    until([&] { return killed; });
    REQUIRE(open_descriptors() <= before);
    REQUIRE(sandbox->execs().empty());
    REQUIRE(std::filesystem::is_empty(dir.path + "/spool/" + sandbox->record().id.str()));
    node.intercept = nullptr;
}

TEST_CASE_METHOD(Fixture, "an agent that never answers costs its caller the deadline and nobody else anything") {
    const SandboxPtr neighbour = create();
    const SandboxPtr sandbox = create();
    jail(sandbox).intercept = [](FakeJail&, const agent::Header&, wire::Reader) { return true; };
    const Deadline brief = Deadline::after(std::chrono::milliseconds{30});
    REQUIRE(wait(sandbox->exec(request({"work"}), brief)).error().is(Errc::timeout));
    REQUIRE(wait(sandbox->files().stat("/etc", User{}, Deadline::after(std::chrono::milliseconds{30}))).error().is(Errc::timeout));
    check_neighbour(*this, neighbour);
    REQUIRE(wait(engine->destroy(sandbox, "deleted", soon())));
}

TEST_CASE_METHOD(Fixture, "an exec whose caller gave up before the answer is killed when the answer comes") {
    std::uint32_t late_request = 0;
    const SandboxPtr sandbox = create();
    jail(sandbox).intercept = [&](FakeJail&, const agent::Header& header, wire::Reader) {
        if (header.type != agent::Type::exec || late_request != 0) return false;
        late_request = header.request;
        return true;
    };
    const Deadline brief = Deadline::after(std::chrono::milliseconds{30});
    REQUIRE(wait(sandbox->exec(request({"work"}), brief)).error().is(Errc::timeout));
    auto out = sys::pipe();
    auto err = sys::pipe();
    sandboxd::testing::FakeProgram late;
    late.state.exec = 1;
    late.kept.push_back(std::move(out->read));
    late.kept.push_back(std::move(err->read));
    late.out = std::move(out->write);
    late.err = std::move(err->write);
    auto& program = jail(sandbox).programs.emplace(1, std::move(late)).first->second;
    agent::ExecStarted started;
    started.exec = 1;
    jail(sandbox).send(agent::Type::exec_started, late_request, started, {program.kept[0].get(), program.kept[1].get()});
    until([&] { return program.forgotten; });
    REQUIRE(engine->stats().execs_running == 0);
    REQUIRE(sandbox->expires());
}

TEST_CASE_METHOD(Fixture, "file answers are checked: a pipe is no file, a listing's packets are bounded") {
    auto pipe = sys::pipe();
    Fd proc = *sys::open("/proc/self/comm", O_RDWR);
    auto stream = sys::seqpacket_pair();
    node.intercept = [&](FakeJail& jail, const agent::Header& header, wire::Reader reader) {
        if (header.type == agent::Type::file_open) {
            agent::FileOpen body;
            REQUIRE(agent::decode_body(reader, body));
            if (body.mode == agent::OpenMode::read) {
                jail.send(agent::Type::file_opened, header.request, agent::FileInfo{}, {pipe->read.get()});
            } else {
                jail.send(agent::Type::file_opened, header.request, agent::FileInfo{}, {proc.get(), stream->second.get()});
            }
            return true;
        }
        if (header.type == agent::Type::file_list) {
            jail.send(agent::Type::file_listing, header.request, agent::Empty{}, {stream->second.get()});
            return true;
        }
        return false;
    };
    const SandboxPtr sandbox = create();
    REQUIRE(wait(sandbox->files().open("/a", User{}, soon())).error().is(Errc::protocol_error));
    // Writing there would be a command, given with the daemon's rights.
    REQUIRE(wait(sandbox->files().replace("/a", 0644, User{}, soon())).error().is(Errc::protocol_error));
    auto listing = wait(sandbox->files().list("/a", 1, 10, User{}, soon()));
    REQUIRE(listing);
    const std::vector<std::byte> huge(60'000);
    REQUIRE(sys::send_packet(stream->first.get(), huge));
    REQUIRE(wait((*listing)->next(soon())).error().is(Errc::protocol_error));
    node.intercept = nullptr;
}

TEST_CASE_METHOD(Fixture, "a flood of output from one sandbox leaves another's exec its time") {
    const SandboxPtr noisy = create();
    const SandboxPtr quiet = create();
    const ExecPtr flood = exec(noisy, request({"yes"}));
    auto& program = this->program(noisy, flood);
    // As much as the pipe takes, whenever it takes some: from this thread, between the loop's turns.
    const std::string block(65536, 'y');
    const auto feed = [&] {
        auto written = sys::write_some(program.out.get(), std::as_bytes(std::span{block}));
        return written.has_value();
    };
    while (feed()) {
    }
    const ExecPtr small = exec(quiet, request({"true"}));
    auto& other = this->program(quiet, small);
    other.print("quiet");
    other.close_output();
    jail(quiet).exit(1, 0);
    bool done = false;
    asio::co_spawn(context, small->wait(soon()), [&](std::exception_ptr, Result<void>) { done = true; });
    until([&] {
        while (feed()) {
        }
        return done;
    });
    REQUIRE(output(small->out()) == "quiet");
}
