// `sudo` in a sandbox: what it can do, what it keeps of sudo(8), and what nobody can do with it.
#include <netinet/in.h>
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "sandboxd/core/sys.hpp"
#include "tests/integration/init/sandbox.hpp"

namespace sandboxd::init_test {
namespace {

// As the product sets it: where no sudo of the image's is covered, ours is found last.
const std::vector<std::string> kEnvironment = {"PATH=/usr/local/bin:/usr/bin:/bin:/run/sandboxd/bin", "HOME=/home/user", "USER=user", "FOO=bar", "LANG=C.UTF-8"};

std::uint64_t next_exec() {
    static std::uint64_t next = 5'000'000;
    return next++;
}

Command command(std::string_view script, std::uint32_t uid = 1000) {
    Command out;
    out.exec = next_exec();
    out.argv = {"bash", "-c", std::string{script}};
    out.env = kEnvironment;
    out.uid = uid;
    return out;
}

Ran user(Client& client, std::string_view script, std::uint32_t uid = 1000) { return run(client, command(script, uid)); }

}  // namespace

TEST_CASE("sudo runs a command as root, with the caller's streams, folder and exit code") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    const Ran ran = user(client, "cd /tmp; echo in | sudo sh -c 'id -u; cat; pwd; echo err >&2; exit 7'; echo $?");
    CHECK(ran.out == "0\nin\n/tmp\n7\n");
    CHECK(ran.err == "err\n");
    CHECK(user(client, "sudo echo \"$FOO\"").out == "bar\n");
    CHECK(user(client, "sudo touch /etc/made && stat -c %U /etc/made; sudo chown user /etc/made && rm -f /etc/made; sudo rm /etc/made; ls /etc/made 2>&1 | grep -c 'No such'").out ==
          "root\n1\n");
    CHECK(user(client, "sudo nothing-of-that-name; echo $?").out == "1\n");
    CHECK(user(client, "sudo nothing-of-that-name").err == "sudo: nothing-of-that-name: command not found\n");
    CHECK(user(client, "sudo sudo id -u", 1000).out == "0\n");
    CHECK(user(client, "sudo id -u", 0).out == "0\n");
    // The control: without it the same is refused.
    CHECK(user(client, "touch /etc/made 2>/dev/null; echo $?").out == "1\n");
}

TEST_CASE("what a command gets by sudo is the jail's root and no more") {
    Sandbox sandbox;
    const Ran ran = user(sandbox.client(), "sudo grep -E '^(NoNewPrivs|Seccomp_filters|CapPrm|CapBnd):' /proc/self/status | tr -d '\\n\\t'");
    CHECK(ran.out == "CapPrm:00000000000004fbCapBnd:00000000000004fbNoNewPrivs:1Seccomp_filters:2");
    CHECK(user(sandbox.client(), "sudo mount -t tmpfs none /mnt 2>/dev/null; sudo kill -9 1 2>/dev/null; echo alive").out == "alive\n");
}

TEST_CASE("the environment follows sudo's rules") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    CHECK(user(client, "sudo printenv FOO; echo $?").out == "1\n");
    CHECK(user(client, "sudo -E printenv FOO").out == "bar\n");
    CHECK(user(client, "sudo --preserve-env=X,FOO printenv FOO").out == "bar\n");
    CHECK(user(client, "sudo FOO=other printenv FOO; sudo -E FOO=other printenv FOO").out == "other\nother\n");
    CHECK(user(client, "sudo printenv HOME USER LOGNAME SUDO_USER SUDO_UID LANG").out == "/root\nroot\nroot\nuser\n1000\nC.UTF-8\n");
    CHECK(user(client, "sudo -E printenv HOME; sudo -EH printenv HOME").out == "/home/user\n/root\n");
    CHECK(user(client, "sudo -u daemon id -un; sudo -u '#1234' id -u; sudo -nu user id -u; sudo -g tty id -g").out == "daemon\n1234\n1000\n5\n");
    CHECK(user(client, "sudo -i pwd; sudo -s 'echo $0 a\\ b'; sudo -i id -u; sudo -- id -u; sudo -D / pwd").out.find("/root\n") == 0);
    CHECK(user(client, "sudo -l | tail -1; sudo -v; echo $?; sudo -k; echo $?").out == "    (ALL : ALL) NOPASSWD: ALL\n0\n0\n");
    CHECK(user(client, "sudo --no-such 2>/dev/null; echo $?; sudo -u nobody-at-all id 2>/dev/null; echo $?; sudo 2>/dev/null; echo $?").out == "1\n1\n1\n");
}

TEST_CASE("signals go to the command, and its death is the caller's") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    CHECK(user(client, "sudo sh -c 'kill -TERM $$'; echo $?").out == "143\n");
    const Ran ran = user(client,
                         "sudo sh -c 'trap \"echo got; exit 3\" TERM; echo ready; while :; do sleep 0.05; done' > /tmp/out & pid=$!;"
                         " until grep -q ready /tmp/out; do sleep 0.02; done; kill -TERM $pid; wait $pid; echo $?; cat /tmp/out");
    CHECK(ran.out == "3\nready\ngot\n");
    // A client that is killed takes the command with it, as a terminal that goes does.
    CHECK(user(client,
               "sudo sh -c 'echo $$ > /tmp/pid; exec sleep 600' & pid=$!; until [ -s /tmp/pid ]; do sleep 0.02; done; kill -KILL $pid; wait $pid;"
               " while sudo kill -0 $(cat /tmp/pid) 2>/dev/null; do sleep 0.02; done; echo gone")
              .out == "gone\n");
}

TEST_CASE("a command by sudo counts and ends with the exec that asked for it") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    Command asking = command("sudo sleep 600");
    asking.timeout_ms = 30'000;
    (void)start(client, asking);
    // bash, the client (or bash has become it), and the command: all in the leaf.
    REQUIRE(eventually([&] {
        for (const int pid : sandbox.processes(asking.exec)) {
            const auto name = sys::read_file("/proc/" + std::to_string(pid) + "/comm");
            if (name && *name == "sleep\n") return true;
        }
        return false;
    }));
    agent::Signal kill;
    kill.exec = asking.exec;
    kill.signal = SIGKILL;
    kill.scope = agent::SignalScope::tree;
    client.call(agent::Type::signal, kill, agent::Type::ok);
    (void)client.exited(asking.exec);
    forget(client, asking.exec);
    CHECK(eventually([&] { return !sandbox.has_leaf(asking.exec); }));
    CHECK(eventually([&] { return sandbox.init_processes() == std::to_string(sandbox.init_pid()) + "\n"; }));
}

TEST_CASE("on a terminal the command has one of its own, with job control and the caller's size") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    Command asking = command("sudo bash -c 'tty; stty size; read -r line; echo \"<$line>\"; trap \"echo interrupted; exit 4\" INT; echo waiting; while :; do sleep 0.05; done'; echo code $?; stty -a | grep -c -- ' echo '");
    asking.flags = agent::kPty;
    asking.env.push_back("TERM=xterm");
    const Answer started = start(client, asking);
    const int master = started.fds.at(0).get();
    std::string seen = read_until(master, "24 80");
    CHECK(seen.find("/dev/pts/") != std::string::npos);
    REQUIRE(::write(master, "hello\r", 6) == 6);
    CHECK(read_until(master, "waiting").find("<hello>") != std::string::npos);
    REQUIRE(::write(master, "\x03", 1) == 1);
    CHECK(read_until(master, "code 4\r\n1").find("interrupted") != std::string::npos);
    (void)client.exited(asking.exec);
}

TEST_CASE("who may not is told so") {
    SECTION("a sandbox without root") {
        Options options;
        options.allow_root = false;
        Sandbox sandbox{options};
        const Ran ran = user(sandbox.client(), "/run/sandboxd/bin/sudo id; ls /run/sandboxd");
        CHECK(ran.out.find("uid=") == std::string::npos);
        CHECK(ran.out.find("sudo.sock") == std::string::npos);
    }
    SECTION("another user than the sandbox's") {
        Sandbox sandbox;
        const Ran ran = user(sandbox.client(), "sudo id; echo $?", 1234);
        CHECK(ran.out == "1\n");
        CHECK(ran.err == "sudo: this sandbox does not allow that to this user\n");
    }
}

TEST_CASE("nothing that is sent to the door stops PID 1 or the next one who knocks") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    // Many that say nothing, garbage, wrong counts of descriptors, and descriptors whose closing blocks: sockets that linger
    // with bytes that nobody takes.
    const char* const kAbuse = R"(
import os, socket, struct
PATH = '/run/sandboxd/sudo.sock'
def knock():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(0.1)  # the queue may be full of ours
    s.connect(PATH)
    return s
def lingering():
    server = socket.socket(); server.bind(('127.0.0.1', 0)); server.listen(1)
    a = socket.create_connection(server.getsockname()); b, _ = server.accept()
    a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 600))
    a.setblocking(False)
    try:
        while True: a.send(b'x' * 65536)
    except BlockingIOError: pass
    keep.append(b)
    return a
def send_lingering(count):
    # The message has to hold the last reference: a child sends it and exits, which never lingers.
    a = lingering()
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.read(ready, 1)
            socket.send_fds(knock(), [b'x'], [a.fileno()] * count)
        finally: os._exit(0)
    a.close()
    os.write(go, b'g')
    os.waitpid(pid, 0); os.close(ready); os.close(go)
keep = []
for i in range(40):
    try:
        s = knock()
        if i % 4 == 0: s.send(os.urandom(1 + i * 100))
        if i % 4 == 1: send_lingering(1 + i % 5)
        if i % 4 == 2: s.send(struct.pack('<III', 0x31525853, 0, 0) + b'\xff' * 60)
    except (BrokenPipeError, BlockingIOError, TimeoutError): pass
    if i % 3: s.close()
    else: keep.append(s)
print('sent', flush=True)
input()
)";
    Command abuse;
    abuse.exec = next_exec();
    abuse.argv = {"python3", "-c", kAbuse};
    abuse.flags = agent::kStdin;
    const Answer started = start(client, abuse);
    // PID 1 answers at once all the while.
    for (int i = 0; i < 50; ++i) client.ping();
    CHECK(read_until(started.fds.at(0).get(), "sent") == "sent\n");
    for (int i = 0; i < 50; ++i) client.ping();
    CHECK(shell(client, "echo alive").out == "alive\n");
    agent::Signal kill;
    kill.exec = abuse.exec;
    kill.signal = SIGKILL;
    kill.scope = agent::SignalScope::tree;
    client.call(agent::Type::signal, kill, agent::Type::ok);
    (void)client.exited(abuse.exec);
    // Those that said nothing are given up after ten seconds at the latest.
    CHECK(user(client, "sudo id -u").out == "0\n");
}

}  // namespace sandboxd::init_test
