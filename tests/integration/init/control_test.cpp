// The init as something that must stay in control: of a hostile workload, of a workload at its limits, and of APIs that
// come and go.
#include <errno.h>
#include <signal.h>

#include <catch2/catch.hpp>
#include <map>

#include "sandboxd/core/sys.hpp"
#include "tests/integration/init/sandbox.hpp"

namespace sandboxd::init_test {
namespace {

agent::Signal kill_tree(std::uint64_t exec) {
    agent::Signal out;
    out.exec = exec;
    out.signal = SIGKILL;
    out.scope = agent::SignalScope::tree;
    return out;
}

agent::FileRef home() {
    agent::FileRef ref;
    ref.uid = ref.gid = 1000;
    ref.path = "/home/user";
    return ref;
}

}  // namespace

TEST_CASE("a workload that stops every process of its user can't stop the init or a file request") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    Command attack;
    attack.exec = 1;
    attack.argv = {"python3", "-c",
                   "import os, signal\nprint('ready', flush=True)\nwhile True:\n  try: os.kill(-1, signal.SIGSTOP)\n  except ProcessLookupError: pass"};
    Answer started = start(client, attack);
    read_until(started.fds[0].get(), "ready");
    // Each of these children spends a moment with the user's ids before it execs. Not waited for: some get stopped.
    std::map<std::uint32_t, std::uint64_t> asked;
    for (std::uint64_t exec = 10; exec < 40; ++exec) {
        Command victim;
        victim.exec = exec;
        victim.argv = {"true"};
        asked[send_exec(client, victim)] = exec;
    }
    const std::uint32_t ping = client.send(agent::Type::ping, agent::Empty{});
    client.await_other([&](const Answer& answer) { return answer.header.request == ping && answer.header.type == agent::Type::pong; });
    for (int i = 0; i < 10; ++i) {
        const std::uint32_t stat = client.send(agent::Type::file_stat, home());
        client.await_other([&](const Answer& answer) { return answer.header.request == stat && answer.header.type == agent::Type::file_info; });
    }
    const std::uint32_t kill = client.send(agent::Type::signal, kill_tree(1));
    client.await_other([&](const Answer& answer) { return answer.header.request == kill && answer.header.type == agent::Type::ok; });
}

TEST_CASE("the init answers while the workload is at its limits", "[limits]") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    Command bomb;
    bomb.exec = 1;

    SECTION("of processes") {
        bomb.argv = {"python3", "-c",
                     "import os, time\nn = 0\nwhile True:\n  try:\n    if os.fork() == 0: time.sleep(1000)\n    n += 1\n"
                     "  except OSError as e:\n    print(n, e.errno, flush=True)\n    time.sleep(1000)"};
        Answer started = start(client, bomb);
        const std::string said = read_until(started.fds[0].get(), "\n");
        CHECK(said.find(" " + std::to_string(EAGAIN)) != std::string::npos);
        // One more still starts, and so does the one that is to clean up; none of its forks would.
        Command other;
        other.exec = 2;
        other.argv = {"true"};
        send_exec(client, other);
        const Answer answer = client.reply();
        CHECK(answer.header.type == agent::Type::exec_started);
    }
    SECTION("of memory") {
        bomb.argv = {"python3", "-c", "print('ready', flush=True)\nx = []\nwhile True: x.append(bytearray(1 << 20))"};
        Answer started = start(client, bomb);
        read_until(started.fds[0].get(), "ready");
        for (int i = 0; i < 20; ++i) client.ping();
        const auto state = client.exited(1);
        CHECK(state.kind == agent::ExitKind::signaled);
        CHECK(state.status == SIGKILL);
    }
    SECTION("of cpu") {
        bomb.argv = {"sh", "-c", "for i in 1 2 3 4 5 6 7 8; do while :; do :; done & done; echo ready; wait"};
        Answer started = start(client, bomb);
        read_until(started.fds[0].get(), "ready");
    }
    client.ping();
    client.call(agent::Type::file_stat, home(), agent::Type::file_info);
    client.call(agent::Type::signal, kill_tree(1), agent::Type::ok);
    if (sandbox.has_leaf(2)) client.call(agent::Type::signal, kill_tree(2), agent::Type::ok);
    Ran after = shell(client, "echo alive");
    CHECK(after.out == "alive\n");
}

TEST_CASE("neither a user nor the jail's root can touch the init") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    const int pid = sandbox.init_pid();
    for (const std::uint32_t uid : {1000U, 0U}) {
        INFO("uid " << uid);
        const Ran ran = shell(client,
                              "for s in 1 2 9 15 19; do kill -$s 1 2>/dev/null && echo signalled; done\n"
                              "for f in environ maps mem auxv fd root cwd exe; do cat /proc/1/$f >/dev/null 2>&1 && echo read $f; ls /proc/1/$f/ 2>/dev/null; done\n"
                              "prlimit --pid 1 --nofile=1:1 2>/dev/null && echo limited; renice -n 19 -p 1 >/dev/null 2>&1 && echo reniced; ls -d /proc/1 2>/dev/null; true",
                              uid);
        CHECK(ran.out.empty());
    }
    client.ping();
    CHECK(sandbox.init_pid() == pid);
    const std::string status = *sys::read_file("/proc/" + std::to_string(pid) + "/status");
    CHECK(status.find("CapPrm:\t0000000000000000") != std::string::npos);
    CHECK(status.find("CapEff:\t0000000000000000") != std::string::npos);
    CHECK(status.find("NoNewPrivs:\t1") != std::string::npos);
}

TEST_CASE("an API that comes back is told every exec, with its descriptors") {
    Sandbox sandbox;
    Client& first = sandbox.client();
    Command running;
    running.exec = 1;
    running.flags = agent::kStdin;
    running.argv = {"sh", "-c", "echo before; read line; echo \"after $line\"; exit 3"};
    {
        const Answer started = start(first, running);
        read_until(started.fds[0].get(), "before");
    }  // the first API's descriptors are gone
    Command ended;
    ended.exec = 2;
    ended.argv = {"sh", "-c", "echo kept; exit 9"};
    (void)start(first, ended);
    (void)first.exited(2);

    Client second = sandbox.connect();
    auto states = second.hello();
    CHECK(first.hung_up());
    REQUIRE(states.size() == 2);
    std::map<std::uint64_t, Answer*> by_exec;
    for (Answer& answer : states) by_exec[answer.body<agent::ExecState>().exec] = &answer;
    REQUIRE(by_exec.count(1) == 1);
    REQUIRE(by_exec.count(2) == 1);

    const auto old = by_exec[2]->body<agent::ExecState>();
    CHECK(old.kind == agent::ExitKind::exited);
    CHECK(old.status == 9);
    CHECK(read_until(by_exec[2]->fds.at(0).get(), "\n") == "kept\n");

    const auto live = by_exec[1]->body<agent::ExecState>();
    CHECK(live.kind == agent::ExitKind::running);
    CHECK(live.flags == agent::kStdin);
    REQUIRE(by_exec[1]->fds.size() == 3);
    const std::string_view line = "hello\n";
    REQUIRE(sys::write_all(by_exec[1]->fds[2].get(), std::as_bytes(std::span{line.data(), line.size()})));
    CHECK(read_until(by_exec[1]->fds[0].get(), "\n") == "after hello\n");
    CHECK(second.exited(1).status == 3);
}

TEST_CASE("a hundred and fifty execs that nobody forgot are all told") {
    Sandbox sandbox;
    Client& first = sandbox.client();
    for (std::uint64_t exec = 1; exec <= 150; ++exec) {
        Command command;
        command.exec = exec;
        command.argv = {"true"};
        (void)start(first, command);
        (void)first.exited(exec);
    }
    Client second = sandbox.connect();
    const auto states = second.hello();
    CHECK(states.size() == 150);
    for (const Answer& answer : states) CHECK(answer.fds.size() == 2);
    for (std::uint64_t exec = 1; exec <= 150; ++exec) forget(second, exec);
    CHECK(second.hello().empty());
}

TEST_CASE("a connection that does not speak the protocol is closed, and the next one is served") {
    Sandbox sandbox;
    SECTION("another magic") {
        const std::string_view junk = "GET / HTTP/1.1\r\n\r\n";
        sandbox.client().send_bytes(std::as_bytes(std::span{junk.data(), junk.size()}));
        CHECK(sandbox.client().hung_up());
    }
    SECTION("a request before hello") {
        Client second = sandbox.connect();
        second.send(agent::Type::ping, agent::Empty{});
        CHECK(second.hung_up());
    }
    SECTION("more descriptors than a request has") {
        std::array<std::byte, 64> packet{};
        const std::size_t size = agent::encode(packet.data(), packet.size(), agent::Type::ping, 1, agent::Empty{});
        const std::array<int, 3> fds{0, 1, 2};
        sandbox.client().send_bytes(std::span{packet}.first(size), fds);
        CHECK(sandbox.client().hung_up());
    }
    Client third = sandbox.connect();
    CHECK(third.hello().empty());
    third.ping();
}

}  // namespace sandboxd::init_test
