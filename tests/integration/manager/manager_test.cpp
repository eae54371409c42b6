// The manager against the real kernel, with the real sandbox-init, spoken to in the agent protocol.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <filesystem>
#include <optional>

#include "sandboxd/agent/protocol.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/core/sys.hpp"
#include "sandboxd/manager/manager.hpp"
#include "sandboxd/programs.hpp"

using namespace sandboxd;

namespace {

struct TempDir {
    std::string path;
    TempDir() {
        char name[] = "/tmp/sbx-manager-XXXXXX";
        path = ::mkdtemp(name);
    }
    ~TempDir() { std::filesystem::remove_all(path); }
};

manager::ManagerConfig config_for(const std::string& state_dir) {
    manager::ManagerConfig config;
    config.state_dir = state_dir;
    config.instance = "test" + std::to_string(::getpid());
    config.init_binary = *sys::open(SANDBOX_INIT, O_PATH);
    config.seccomp_profile = std::string{embedded_seccomp_profile()};
    config.seccomp_strict = std::string{embedded_seccomp_strict()};
    config.seccomp_debug = std::string{embedded_seccomp_debug()};
    config.pool_bytes = 1ULL << 30;
    return config;
}

// Runs a coroutine to its end on a fresh io_context.
template <class T>
T run(asio::io_context& context, asio::awaitable<T> task) {
    std::optional<T> out;
    asio::co_spawn(context, std::move(task), [&](std::exception_ptr e, T value) {
        if (e) std::rethrow_exception(e);
        out.emplace(std::move(value));
        context.stop();
    });
    context.restart();
    context.run();
    REQUIRE(out.has_value());
    return *std::move(out);
}

const Deadline soon() { return Deadline::after(std::chrono::seconds{20}); }

control::CreateSpec spec(const std::string& id) {
    control::CreateSpec out;
    out.id = SandboxId::trusted(id);
    out.template_name = "host";
    out.hostname = "sandbox";
    out.limits.disk_bytes = 64 << 20;
    return out;
}

struct Answer {
    agent::Header header;
    std::array<std::byte, agent::kMaxMessage> buffer;
    std::size_t size = 0;
    std::vector<Fd> fds;
    template <class Body>
    Body body() {
        wire::Reader reader{buffer.data(), size};
        agent::Header h;
        REQUIRE(agent::decode_header(reader, h));
        Body out;
        REQUIRE(agent::decode_body(reader, out));
        return out;
    }
};

class Talk {
public:
    explicit Talk(int socket) : socket_{socket} {}
    template <class Body>
    void send(agent::Type type, const Body& body, std::span<const int> fds = {}) {
        static std::array<std::byte, agent::kMaxMessage> out;
        const std::size_t n = agent::encode(out.data(), out.size(), type, ++request_, body);
        REQUIRE(n > 0);
        REQUIRE(sys::send_message(socket_, std::span{out}.first(n), fds));
    }
    std::unique_ptr<Answer> receive() {
        pollfd wait{socket_, POLLIN, 0};
        REQUIRE(::poll(&wait, 1, 20000) == 1);
        auto answer = std::make_unique<Answer>();
        auto got = sys::receive_message(socket_, answer->buffer);
        REQUIRE(got);
        REQUIRE(got->size > 0);
        answer->size = got->size;
        answer->fds = std::move(got->fds);
        wire::Reader reader{answer->buffer.data(), answer->size};
        REQUIRE(agent::decode_header(reader, answer->header));
        return answer;
    }
    std::unique_ptr<Answer> expect(agent::Type type) {
        auto answer = receive();
        if (answer->header.type == agent::Type::error) {
            const auto failure = answer->body<agent::Failure>();
            INFO("errno " << failure.error << " step " << static_cast<int>(failure.step));
            REQUIRE(answer->header.type == type);
        }
        REQUIRE(answer->header.type == type);
        return answer;
    }
    void hello() {
        send(agent::Type::hello, agent::Empty{});
        expect(agent::Type::hello_ok);
        expect(agent::Type::sync_done);
    }

private:
    int socket_;
    std::uint32_t request_ = 0;
};

std::string block(std::initializer_list<std::string> items) {
    std::string out;
    for (const auto& item : items) out += item + '\0';
    return out;
}

std::string read_all(int fd) {
    std::string out;
    std::array<char, 4096> buffer;
    for (;;) {
        pollfd wait{fd, POLLIN, 0};
        if (::poll(&wait, 1, 10000) != 1) return out;
        const ssize_t n = ::read(fd, buffer.data(), buffer.size());
        if (n <= 0) return out;
        out.append(buffer.data(), static_cast<std::size_t>(n));
    }
}

struct Ran {
    std::string out;
    std::string err;
    agent::ExecState state;
};

Ran exec(Talk& talk, std::uint64_t number, std::initializer_list<std::string> argv, std::uint32_t uid = 1000, std::uint64_t timeout_ms = 0) {
    const std::string args = block(argv);
    const std::string env = block({"PATH=/usr/bin:/bin", "HOME=/home/user"});
    agent::Exec request;
    request.exec = number;
    request.uid = request.gid = uid;
    request.timeout_ms = timeout_ms;
    request.kill_grace_ms = 200;
    request.cwd = "/home/user";
    request.argv = args;
    request.env = env;
    talk.send(agent::Type::exec, request);
    auto started = talk.expect(agent::Type::exec_started);
    REQUIRE(started->fds.size() == 2);
    Ran ran;
    auto exited = talk.expect(agent::Type::exec_exited);
    ran.state = exited->body<agent::ExecState>();
    agent::ExecRef ref;
    ref.exec = number;
    // Forgetting closes the init's copies, so that reading ends where the program's writers are gone.
    talk.send(agent::Type::forget, ref);
    talk.expect(agent::Type::ok);
    ran.out = read_all(started->fds[0].get());
    ran.err = read_all(started->fds[1].get());
    return ran;
}

}  // namespace

TEST_CASE("a sandbox is made, runs programs as a confined user, and leaves nothing when destroyed") {
    if (::geteuid() != 0) {
        WARN("needs root");
        std::exit(77);
    }
    const TempDir state;
    asio::io_context context;
    auto started = run(context, manager::Manager::start(context.get_executor(), config_for(state.path)));
    if (!started) FAIL(started.error().message());
    auto manager = *std::move(started);
    auto created = run(context, manager->create(spec("testsandbox1"), soon()));
    if (!created) FAIL(created.error().message());
    const control::SandboxHandle handle = *std::move(created);
    Talk talk{handle.agent.get()};
    talk.hello();

    SECTION("with output, exit code and its own ids") {
        const Ran ran = exec(talk, 1, {"sh", "-c", "id -u; pwd; hostname; echo oops >&2; exit 7"});
        CHECK(ran.out == "1000\n/home/user\nsandbox\n");
        CHECK(ran.err == "oops\n");
        CHECK(ran.state.kind == agent::ExitKind::exited);
        CHECK(ran.state.status == 7);
    }
    SECTION("without capabilities, with filters and no new privileges") {
        const Ran ran = exec(talk, 1, {"grep", "-E", "^(CapEff|CapBnd|NoNewPrivs|Seccomp|Seccomp_filters):", "/proc/self/status"});
        CHECK(ran.out == "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t2\n");
        const Ran root = exec(talk, 2, {"grep", "-E", "^CapEff:", "/proc/self/status"}, 0);
        CHECK(root.out == "CapEff:\t00000000000004fb\n");
    }
    SECTION("that sees no process but its own and no path of the host") {
        const Ran ran = exec(talk, 1, {"sh", "-c", "ls /proc | grep -c '^[0-9]'; cat /proc/self/mountinfo /proc/self/cgroup"});
        INFO(ran.out << ran.err);
        CHECK(ran.out.find(state.path) == std::string::npos);
        CHECK(ran.out.find("sandboxd-") == std::string::npos);
        CHECK(ran.out.find("testsandbox1") == std::string::npos);
    }
    SECTION("that runs python") {
        const Ran ran = exec(talk, 1, {"python3", "-c", "import os,sys; print(os.getuid(), sys.version_info[0], os.listdir('/home'))"});
        INFO(ran.err);
        CHECK(ran.out == "1000 3 ['user']\n");
    }
    SECTION("that is ended at its deadline, with everything it started") {
        const Ran ran = exec(talk, 1, {"sh", "-c", "trap '' TERM; sleep 1000 & sleep 1000"}, 1000, 300);
        CHECK(ran.state.timed_out);
        CHECK(ran.state.kind == agent::ExitKind::signaled);
        CHECK(ran.state.status == SIGKILL);
    }
    SECTION("that can't touch PID 1, not even as the sandbox's root") {
        const Ran ran = exec(talk, 1, {"sh", "-c", "kill -9 1; cat /proc/1/environ; ls /proc/1/root; prlimit --pid 1 --nofile=1; true"}, 0);
        INFO(ran.out << ran.err);
        talk.send(agent::Type::ping, agent::Empty{});
        talk.expect(agent::Type::pong);
    }
    SECTION("and is taken up by the next manager") {
        (void)run(context, manager->stop(soon()));
        manager.reset();
        auto again = run(context, manager::Manager::start(context.get_executor(), config_for(state.path)));
        if (!again) FAIL(again.error().message());
        manager = *std::move(again);
        auto back = run(context, manager->reconnect(SandboxId::trusted("testsandbox1"), soon()));
        if (!back) FAIL(back.error().message());
        Talk second{back->agent.get()};
        second.hello();
        CHECK(exec(second, 5, {"echo", "still here"}).out == "still here\n");
    }

    auto destroyed = run(context, manager->destroy(SandboxId::trusted("testsandbox1"), soon()));
    if (!destroyed) FAIL(destroyed.error().message());
    auto stopped = run(context, manager->stop(soon()));
    if (!stopped) FAIL(stopped.error().message());
    manager.reset();
    const auto mounts = sys::read_file("/proc/self/mountinfo");
    CHECK(mounts->find(state.path) == std::string::npos);
}
