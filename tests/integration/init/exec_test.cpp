// Programs: how they are started, what they are given, how they end.
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>

#include "sandboxd/core/sys.hpp"
#include "tests/integration/init/sandbox.hpp"

namespace sandboxd::init_test {
namespace {

agent::Signal signal_of(std::uint64_t exec, int number, agent::SignalScope scope) {
    agent::Signal out;
    out.exec = exec;
    out.signal = number;
    out.scope = scope;
    return out;
}

// A record of a kWithFiles memfd.
std::string record(const std::string& path, const std::string& content, std::uint32_t mode = 0644) {
    std::vector<std::byte> buffer(path.size() + content.size() + 64);
    wire::Writer writer{buffer.data(), buffer.size()};
    agent::FileRecord out;
    out.mode = mode;
    out.path = path;
    out.content = content;
    Answer::require(writer(out), "an encoded record");
    return {reinterpret_cast<const char*>(buffer.data()), writer.size()};
}

void write_text(int fd, std::string_view text) {
    REQUIRE(sys::write_all(fd, std::as_bytes(std::span{text.data(), text.size()})));
}

}  // namespace

TEST_CASE("a program gets its arguments, environment, folder and ids, and its exit is told") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    Command command;
    command.argv = {"sh", "-c", "echo \"$1|$FOO|$PWD|$(id -u):$(id -g):$(id -G)\"; echo oops >&2; exit 7", "sh", "a b"};
    command.env.push_back("FOO=bar");
    command.cwd = "/tmp";
    const Ran ran = run(client, command);
    CHECK(ran.out == "a b|bar|/tmp|1000:1000:1000\n");
    CHECK(ran.err == "oops\n");
    CHECK(ran.state.kind == agent::ExitKind::exited);
    CHECK(ran.state.status == 7);
    CHECK(ran.state.ended_ns > ran.state.started_ns);
    CHECK_FALSE(sandbox.has_leaf(command.exec));

    const Ran killed = shell(client, "kill -SEGV $$");
    CHECK(killed.state.kind == agent::ExitKind::signaled);
    CHECK(killed.state.status == SIGSEGV);
}

TEST_CASE("calls that the filters refuse are answered by the init, counted, and told before the exit and after each hello") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    Command command;
    command.argv = {"sh", "-c", "for i in 1 2 3; do mount -t tmpfs none /mnt 2>/dev/null && echo mounted; done; unshare -n true 2>/dev/null; exit 5"};
    const std::uint64_t exec = command.exec;
    const Answer started = start(client, command);
    CHECK(client.exited(exec).status == 5);
    const auto check = [&](const agent::ExecRefusals& told) {
        REQUIRE(told.used == 2);  // mount and unshare
        CHECK(told.others == 0);
        std::uint64_t mounts = 0;
        for (std::uint32_t i = 0; i < told.used; ++i) {
            CHECK(told.list[i].error == EPERM);
            if (told.list[i].number == SYS_mount) mounts = told.list[i].count;
        }
        CHECK(mounts == 3);
    };
    check(client.refusals(exec));
    Client next = sandbox.connect();
    CHECK(next.hello().size() == 1);
    check(next.refusals(exec));
}

TEST_CASE("what keeps a program from starting is named with its step") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    std::uint64_t number = 0;
    const auto refused = [&](Command command) {
        command.exec = ++number;
        send_exec(client, command);
        return client.expect_error();
    };
    Command command;
    command.argv = {"no-such-command"};
    auto failure = refused(command);
    CHECK(failure.error == ENOENT);
    CHECK(failure.step == agent::Step::exec);

    command.argv = {"/etc"};
    failure = refused(command);
    CHECK(failure.error == EACCES);
    CHECK(failure.step == agent::Step::exec);

    command.argv = {"true"};
    command.cwd = "/no/such/folder";
    failure = refused(command);
    CHECK(failure.error == ENOENT);
    CHECK(failure.step == agent::Step::cwd);

    command.cwd = "/";
    command.argv = {};
    CHECK(refused(command).step == agent::Step::request);

    command.argv = {"true"};
    command.uid = 65535;  // the init's own id
    failure = refused(command);
    CHECK(failure.error == EINVAL);
    CHECK(failure.step == agent::Step::ids);

    for (std::uint64_t exec = 1; exec <= number; ++exec) CHECK(eventually([&] { return !sandbox.has_leaf(exec); }));
}

TEST_CASE("an exec number in use is refused, and stays in use until it is forgotten") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    Command command;
    command.argv = {"true"};
    const Answer started = start(client, command);
    (void)client.exited(command.exec);
    send_exec(client, command);
    CHECK(client.expect_error().error == EEXIST);
    forget(client, command.exec);
    CHECK(run(client, command).state.status == 0);
}

TEST_CASE("stdin reaches the program and ends when it is closed") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    Command command;
    command.argv = {"wc", "-c"};
    command.flags = agent::kStdin;
    Answer started = start(client, command);
    REQUIRE(started.fds.size() == 3);
    write_text(started.fds[2].get(), "hello");

    std::optional<Answer> watching;
    SECTION("alone") {}
    SECTION("while a watch is open, which must not hold it") {
        agent::FileWatch watch;
        watch.uid = watch.gid = 1000;
        watch.path = "/home/user";
        watching.emplace(client.call(agent::Type::file_watch, watch, agent::Type::file_listing));
    }
    started.fds[2].reset();
    agent::ExecRef ref;
    ref.exec = command.exec;
    client.call(agent::Type::close_stdin, ref, agent::Type::ok);
    CHECK(client.exited(command.exec).status == 0);
    CHECK(read_until(started.fds[0].get(), "\n") == "5\n");
}

TEST_CASE("without kStdin the program reads an empty stdin") {
    Sandbox sandbox;
    CHECK(shell(sandbox.client(), "wc -c; readlink /proc/self/fd/0").out == "0\n/dev/null\n");
}

TEST_CASE("a terminal is the program's own, has a size, and takes a new one") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    Command command;
    command.flags = agent::kPty;
    command.argv = {"sh", "-c", "stty size; stat -c %u $(tty); trap 'stty size; exit 3' WINCH; echo ready; while :; do read x; echo \"got $x\"; done"};
    Answer started = start(client, command);
    REQUIRE(started.fds.size() == 3);
    const int terminal = started.fds[0].get();
    const std::string first = read_until(terminal, "ready");
    CHECK(first.find("24 80\r\n1000\r\n") == 0);
    write_text(terminal, "line\n");
    read_until(terminal, "got line");

    agent::Resize resize;
    resize.exec = command.exec;
    resize.rows = 50;
    resize.cols = 132;
    client.call(agent::Type::resize, resize, agent::Type::ok);
    write_text(terminal, "\n");  // `read` returns, the trap runs
    read_until(terminal, "50 132");
    CHECK(client.exited(command.exec).status == 3);
}

TEST_CASE("a key of the terminal reaches its foreground group") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    Command command;
    command.flags = agent::kPty;
    command.argv = {"sh", "-c", "echo ready; exec sleep 1000"};
    Answer started = start(client, command);
    read_until(started.fds[0].get(), "ready");
    write_text(started.fds[0].get(), "\x03");
    const auto state = client.exited(command.exec);
    CHECK(state.kind == agent::ExitKind::signaled);
    CHECK(state.status == SIGINT);
}

TEST_CASE("a signal goes to the process, its group or its tree") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    Command command;
    command.argv = {"sh", "-c", "trap 'echo term; exit 4' TERM; setsid sleep 1000 & echo ready; while :; do sleep 0.05; done"};
    Answer started = start(client, command);
    read_until(started.fds[0].get(), "ready");

    SECTION("process") {
        client.call(agent::Type::signal, signal_of(1, SIGTERM, agent::SignalScope::process), agent::Type::ok);
        CHECK(client.exited(1).status == 4);
        CHECK(sandbox.has_leaf(1));  // the sleep is in a session of its own and lives
        // Killed with its leaf, which goes once it is forgotten.
        client.call(agent::Type::signal, signal_of(1, SIGKILL, agent::SignalScope::tree), agent::Type::ok);
        forget(client, 1);
        CHECK(eventually([&] { return !sandbox.has_leaf(1); }));
    }
    SECTION("tree") {
        client.call(agent::Type::signal, signal_of(1, SIGKILL, agent::SignalScope::tree), agent::Type::ok);
        const auto state = client.exited(1);
        CHECK(state.kind == agent::ExitKind::signaled);
        CHECK(state.status == SIGKILL);
        forget(client, 1);
        CHECK(read_all(started.fds[0].get()).empty());  // nobody is left who could write
        CHECK(eventually([&] { return !sandbox.has_leaf(1); }));
    }
}

TEST_CASE("a deadline ends the tree by SIGTERM, and by SIGKILL what ignores that") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    Command command;
    command.timeout_ms = 200;
    command.kill_grace_ms = 300;

    SECTION("a program that heeds SIGTERM") {
        command.argv = {"sh", "-c", "trap 'echo bye; exit 5' TERM; while :; do sleep 0.02; done"};
        const Ran ran = run(client, command);
        CHECK(ran.state.timed_out);
        CHECK(ran.state.kind == agent::ExitKind::exited);
        CHECK(ran.state.status == 5);
        CHECK(ran.out == "bye\n");
    }
    SECTION("a program that does not") {
        command.argv = {"sh", "-c", "trap '' TERM; while :; do sleep 0.02; done"};
        const Ran ran = run(client, command);
        CHECK(ran.state.timed_out);
        CHECK(ran.state.status == SIGKILL);
        CHECK(ran.state.ended_ns - ran.state.started_ns >= 500'000'000U);
    }
    SECTION("at once, if so asked") {
        command.flags = agent::kTimeoutKills;
        command.argv = {"sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.02; done"};
        const Ran ran = run(client, command);
        CHECK(ran.state.timed_out);
        CHECK(ran.state.status == SIGKILL);
    }
    SECTION("what it left in the background, also when it is forgotten before the grace is over") {
        command.argv = {"sh", "-c", "(trap '' TERM; while :; do sleep 0.02; done) & wait"};
        const Ran ran = run(client, command);  // reads to the end: the background loop must die for that
        CHECK(ran.state.timed_out);
        CHECK(eventually([&] { return !sandbox.has_leaf(1); }));
    }
}

TEST_CASE("background processes outlive their program and are reaped") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    Command command;
    command.argv = {"sh", "-c", "sleep 0.3 & echo done"};
    Answer started = start(client, command);
    CHECK(client.exited(1).status == 0);
    forget(client, 1);
    CHECK(sandbox.has_leaf(1));
    CHECK(read_all(started.fds[0].get()) == "done\n");  // ends when the sleep does
    CHECK(eventually([&] { return !sandbox.has_leaf(1); }));
    CHECK(shell(client, "ps -e -o stat= 2>/dev/null | grep -c Z").out == "0\n");
}

TEST_CASE("files are written with the program's own rights before it starts") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    Command command;
    command.flags = agent::kWithFiles;
    command.argv = {"sh", "-c", "cat data/in.txt; stat -c '%a %u' run.sh; ./run.sh"};

    SECTION("in place") {
        const auto files = sys::memfd("files", record("data/in.txt", "content\n") + record("run.sh", "#!/bin/sh\necho ran\n", 0755));
        REQUIRE(files);
        const int fd = files->get();
        Answer started = start(client, command, {&fd, 1});
        CHECK(client.exited(1).status == 0);
        forget(client, 1);
        CHECK(read_all(started.fds[0].get()) == "content\n755 1000\nran\n");
    }
    SECTION("nowhere where the user may not write") {
        const auto files = sys::memfd("files", record("/etc/planted", "x"));
        REQUIRE(files);
        const int fd = files->get();
        send_exec(client, command, {&fd, 1});
        const auto failure = client.expect_error();
        CHECK(failure.error == EACCES);
        CHECK(failure.step == agent::Step::files);
    }
    SECTION("not from a damaged list") {
        const auto files = sys::memfd("files", record("a", "x").substr(0, 9));
        REQUIRE(files);
        const int fd = files->get();
        send_exec(client, command, {&fd, 1});
        CHECK(client.expect_error().step == agent::Step::files);
    }
}

}  // namespace sandboxd::init_test
