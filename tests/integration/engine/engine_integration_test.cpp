// The engine over the real manager: real jails, real sandbox-init, real control groups.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <charconv>
#include <filesystem>
#include <optional>

#include "sandboxd/core/async.hpp"
#include "sandboxd/core/sys_io.hpp"
#include "sandboxd/engine/engine.hpp"
#include "sandboxd/manager/manager.hpp"
#include "sandboxd/programs.hpp"

using namespace sandboxd;
using namespace sandboxd::engine;

namespace {

Deadline soon() { return Deadline::after(std::chrono::seconds{30}); }

class Host {
public:
    asio::io_context context;
    std::string path;
    std::unique_ptr<manager::Manager> manager;
    std::unique_ptr<Engine> engine;
    TenantId tenant = TenantId::trusted("dev");

    Host() {
        char name[] = "/tmp/sbx-engine-it-XXXXXX";
        REQUIRE(::mkdtemp(name) != nullptr);
        path = name;
        std::filesystem::create_directories(path + "/api");
        manager::ManagerConfig config;
        config.state_dir = path;
        config.instance = "engine" + std::to_string(::getpid());
        config.init_binary = *sys::open(SANDBOX_INIT, O_PATH);
        config.seccomp_profile = std::string{embedded_seccomp_profile()};
        config.seccomp_strict = std::string{embedded_seccomp_strict()};
        config.seccomp_debug = std::string{embedded_seccomp_debug()};
        config.pool_bytes = 1ULL << 30;
        auto started = run(manager::Manager::start(context.get_executor(), std::move(config)));
        REQUIRE(started);
        manager = *std::move(started);
        start();
    }
    ~Host() {
        if (engine) stop();
        CHECK(run(manager->destroy_all(soon())));
        CHECK(run(manager->stop(soon())));
        manager.reset();
        std::filesystem::remove_all(path);
    }
    void start() {
        EngineConfig config;
        config.state_dir = path + "/api";
        auto made = run(Engine::start(context.get_executor(), config, *manager));
        REQUIRE(made);
        engine = *std::move(made);
        ledger::TenantRecord record;
        record.id = tenant;
        REQUIRE(run(engine->put_tenant(record)));
    }
    void stop() {
        auto stopping = engine->stop();
        bool done = false;
        asio::co_spawn(context, std::move(stopping), [&](std::exception_ptr) {
            done = true;
            context.stop();
        });
        context.restart();
        context.run_for(std::chrono::seconds{60});
        REQUIRE(done);
        engine.reset();
    }

    template <class T>
    T run(asio::awaitable<T> task) {
        std::optional<T> out;
        asio::co_spawn(context, std::move(task), [&](std::exception_ptr e, T value) {
            if (e) std::rethrow_exception(e);
            out.emplace(std::move(value));
            context.stop();
        });
        context.restart();
        context.run_for(std::chrono::seconds{60});
        REQUIRE(out.has_value());
        return *std::move(out);
    }
    SandboxPtr create(CreateRequest request = {}) {
        request.limits.disk_bytes = 64 << 20;
        auto made = run(engine->create(tenant, std::move(request), soon()));
        INFO(made);
        REQUIRE(made);
        return *made;
    }
    ExecPtr exec(const SandboxPtr& sandbox, ExecRequest request) {
        auto made = run(sandbox->exec(std::move(request), soon()));
        INFO(made);
        REQUIRE(made);
        return *made;
    }
    ExecPtr shell(const SandboxPtr& sandbox, std::string script) {
        ExecRequest request;
        request.argv = {"bash", "-c", std::move(script)};
        return exec(sandbox, std::move(request));
    }
    std::string text(Output& out) {
        std::string all;
        std::string piece(65536, '\0');
        for (;;) {
            auto got = run(out.read_now(all.size(), std::as_writable_bytes(std::span{piece})));
            REQUIRE(got);
            if (*got == 0) return all;
            all.append(piece, 0, *got);
        }
    }
    // Everything up to the end of the stream.
    std::string wait_text(const ExecPtr& exec) {
        REQUIRE(run(exec->wait(soon())));
        return text(exec->out());
    }
    void until_size(const ExecPtr& exec, std::uint64_t size) {
        std::byte byte{};
        while (exec->out().size() < size) REQUIRE(run(exec->out().read(exec->out().size(), std::span{&byte, 1}, soon())));
    }
};

}  // namespace

TEST_CASE_METHOD(Host, "a program's output, exit code, user, files and figures are the kernel's") {
    const SandboxPtr sandbox = create();
    ExecRequest request;
    request.argv = {"bash", "-c", "id -u; pwd; cat data/in.txt; echo $GREETING >&2; for i in $(seq 20000); do :; done; exit 3"};
    request.env = {{"GREETING", "hello"}};
    request.files = {{"data/in.txt", 0644, "from the request\n"}};
    const ExecPtr exec = this->exec(sandbox, request);
    REQUIRE(wait_text(exec) == "1000\n/home/user\nfrom the request\n");
    REQUIRE(text(exec->err()) == "hello\n");
    REQUIRE(exec->status() == ExecStatus::exited);
    REQUIRE(exec->exit_code() == 3);
    const ledger::Counters program = exec->usage().counters;
    const ledger::Counters whole = sandbox->usage().counters;
    REQUIRE(program.cpu_ns > 1'000'000);
    REQUIRE(program.memory_peak_bytes > 100'000);
    REQUIRE(program.wall_ns > 0);
    REQUIRE(whole.cpu_ns >= program.cpu_ns);
    REQUIRE(run(engine->destroy(sandbox, "deleted", soon())));
    REQUIRE_FALSE(std::filesystem::exists(path + "/api/spool/" + sandbox->record().id.str()));
}

TEST_CASE_METHOD(Host, "refusals of the real init are told as what they are") {
    CreateRequest no_root;
    no_root.allow_root = false;
    const SandboxPtr sandbox = create(no_root);
    ExecRequest request;
    request.argv = {"no-such-program"};
    REQUIRE(run(sandbox->exec(request, soon())).error().is(Errc::command_not_found));
    request.argv = {"true"};
    request.cwd = "/no/such/folder";
    REQUIRE(run(sandbox->exec(request, soon())).error().is(Errc::invalid_argument));
    request.cwd = {};
    request.user = *parse_user("root");
    REQUIRE(run(sandbox->exec(request, soon())).error().is(Errc::forbidden));
    REQUIRE(run(sandbox->connect(1, soon())).error().is(Errc::unavailable));
}

TEST_CASE_METHOD(Host, "how programs end: a signal, too much memory, the deadline") {
    CreateRequest small;
    small.limits.memory_bytes = 64 << 20;
    const SandboxPtr sandbox = create(small);
    const ExecPtr killed = shell(sandbox, "kill -TERM $$");
    REQUIRE(run(killed->wait(soon())));
    REQUIRE(killed->status() == ExecStatus::signaled);
    REQUIRE(killed->signal() == 15);
    const ExecPtr starved = shell(sandbox, "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}");
    REQUIRE(run(starved->wait(soon())));
    REQUIRE(starved->status() == ExecStatus::oom_killed);
    ExecRequest slow;
    slow.argv = {"sleep", "100"};
    slow.timeout_ms = 200;
    const ExecPtr late = exec(sandbox, slow);
    REQUIRE(run(late->wait(soon())));
    REQUIRE(late->status() == ExecStatus::timed_out);
    // The sandbox is as good as before.
    REQUIRE(wait_text(shell(sandbox, "echo fine")) == "fine\n");
}

TEST_CASE_METHOD(Host, "stdin, its end, and a terminal with its size") {
    const SandboxPtr sandbox = create();
    ExecRequest cat;
    cat.argv = {"cat"};
    cat.stdin_mode = StdinMode::pipe;
    const ExecPtr exec = this->exec(sandbox, cat);
    const std::string much(300'000, 'm');
    REQUIRE(run(exec->write_stdin(much, soon())));
    REQUIRE(run(exec->close_stdin(soon())));
    REQUIRE(wait_text(exec) == much);
    REQUIRE(exec->exit_code() == 0);

    ExecRequest terminal;
    terminal.argv = {"bash", "-c", "tty >/dev/null && stty size; read line; stty size; echo got $line"};
    terminal.pty = true;
    terminal.rows = 33;
    terminal.cols = 77;
    const ExecPtr pty = this->exec(sandbox, terminal);
    until_size(pty, 7);
    REQUIRE(text(pty->out()) == "33 77\r\n");
    REQUIRE(run(pty->resize(40, 100, soon())));
    REQUIRE(run(pty->write_stdin("input\n", soon())));
    REQUIRE(wait_text(pty) == "33 77\r\ninput\r\n40 100\r\ngot input\r\n");
    REQUIRE(pty->exit_code() == 0);
}

TEST_CASE_METHOD(Host, "files: upload, stat, download, list, rename, remove, and what stands in their way") {
    const SandboxPtr sandbox = create();
    Files& files = sandbox->files();
    const User user;
    auto writer = run(files.replace("dir/a.bin", 0640, user, soon()));
    REQUIRE(writer);
    std::string content(3'000'000, '\0');
    for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7 + i / 1000);
    REQUIRE(run((*writer)->write(std::as_bytes(std::span{content}))));
    REQUIRE(run(files.stat("dir/a.bin", user, soon())).error().errc() == Errc::not_found);  // not before the commit
    auto info = run((*writer)->commit(soon()));
    REQUIRE(info);
    REQUIRE(info->size == content.size());
    auto known = run(files.stat("/home/user/dir/a.bin", user, soon()));
    REQUIRE(known);
    REQUIRE(known->mode == 0640);
    REQUIRE(known->uid == 1000);
    auto reader = run(files.open("dir/a.bin", user, soon()));
    REQUIRE(reader);
    std::string back(content.size(), '\0');
    auto got = run((*reader)->read(0, std::as_writable_bytes(std::span{back})));
    REQUIRE(got);
    REQUIRE(*got == content.size());
    REQUIRE(back == content);
    REQUIRE(run(files.open("dir", user, soon())).error().errc() == Errc::conflict);
    REQUIRE(run(files.open("/root/.profile", user, soon())).error().errc() == Errc::forbidden);
    REQUIRE(run(files.make_directory("dir/sub/deep", 0755, user, soon())));
    auto listing = run(files.list("dir", 2, 100, user, soon()));
    REQUIRE(listing);
    std::vector<std::string> names;
    for (;;) {
        auto entry = run((*listing)->next(soon()));
        REQUIRE(entry);
        if (!*entry) break;
        names.push_back((*entry)->path);
    }
    std::sort(names.begin(), names.end());
    REQUIRE(names == std::vector<std::string>{"a.bin", "sub", "sub/deep"});
    REQUIRE_FALSE((*listing)->truncated());
    REQUIRE(run(files.rename("dir/a.bin", "dir/b.bin", user, soon())));
    REQUIRE(run(files.remove("dir", user, soon())));
    REQUIRE(run(files.stat("dir/b.bin", user, soon())).error().errc() == Errc::not_found);
}

TEST_CASE_METHOD(Host, "a file beyond the disk's limit is refused as disk_full") {
    const SandboxPtr sandbox = create();
    auto writer = run(sandbox->files().replace("big", 0644, User{}, soon()));
    REQUIRE(writer);
    const std::vector<std::byte> block(8 << 20, std::byte{1});
    Result<void> written;
    for (int i = 0; i < 16 && written; ++i) written = run((*writer)->write(block));
    if (written) {
        auto committed = run((*writer)->commit(soon()));
        REQUIRE_FALSE(committed);
    } else {
        REQUIRE(written.error().errc() == Errc::disk_full);
    }
    auto giving_up = (*writer)->discard(soon());
    bool gone = false;
    asio::co_spawn(context, std::move(giving_up), [&](std::exception_ptr) {
        gone = true;
        context.stop();
    });
    context.restart();
    context.run_for(std::chrono::seconds{60});
    REQUIRE(gone);
    REQUIRE(wait_text(shell(sandbox, "echo room > small && cat small; ls -A | grep -c upload")) == "room\n0\n");
}

TEST_CASE_METHOD(Host, "a watch tells what happens in a folder") {
    const SandboxPtr sandbox = create();
    auto watch = run(sandbox->files().watch("/home/user", false, User{}, soon()));
    REQUIRE(watch);
    REQUIRE(run(shell(sandbox, "echo x > seen.txt")->wait(soon())));
    bool seen = false;
    for (int i = 0; i < 10 && !seen; ++i) {
        auto event = run((*watch)->next(soon()));
        REQUIRE(event);
        seen = event->path == "seen.txt";
    }
    REQUIRE(seen);
}

TEST_CASE_METHOD(Host, "a port that only listens on the jail's loopback is reached") {
    const SandboxPtr sandbox = create();
    ExecRequest request;
    request.argv = {"python3", "-c",
                    "import socket\ns = socket.create_server(('127.0.0.1', 8000))\nprint('ready', flush=True)\n"
                    "c, _ = s.accept()\nc.sendall(c.recv(100).upper())\nc.close()"};
    const ExecPtr server = exec(sandbox, request);
    until_size(server, 6);
    auto socket = run(sandbox->connect(8000, soon()));
    INFO(socket);
    REQUIRE(socket);
    const std::string_view hello = "hello";
    REQUIRE(sys::write_all(socket->get(), std::as_bytes(std::span{hello})));
    REQUIRE(run(wait_fd(socket->get(), Ready::read, soon())));
    std::array<std::byte, 16> answer{};
    auto got = sys::read_some(socket->get(), answer);
    REQUIRE(got);
    REQUIRE(std::string_view{reinterpret_cast<const char*>(answer.data()), *got} == "HELLO");
    REQUIRE(run(server->wait(soon())));
}

TEST_CASE_METHOD(Host, "programs do not notice a restart of the engine, and no byte of theirs is lost or doubled") {
    const SandboxPtr before = create();
    const SandboxId id = before->record().id;
    const ExecPtr old = shell(before, "for i in $(seq 200000); do echo $i; done");
    until_size(old, 10'000);
    stop();
    start();
    const SandboxPtr sandbox = *engine->find(tenant, id);
    const ExecPtr exec = *sandbox->find_exec(exec_id_from_number(1));
    const std::string all = wait_text(exec);
    REQUIRE(exec->exit_code() == 0);
    std::string expected;
    for (int i = 1; i <= 200'000; ++i) expected += std::to_string(i) + "\n";
    REQUIRE(all == expected);
    REQUIRE(exec->usage().counters.cpu_ns > 0);
    REQUIRE(wait_text(shell(sandbox, "echo next")) == "next\n");
}

TEST_CASE_METHOD(Host, "a restart finds the end of a program that ended meanwhile") {
    const SandboxPtr before = create();
    const SandboxId id = before->record().id;
    ExecRequest cat;
    cat.argv = {"bash", "-c", "echo one; read; echo two; exit 9"};
    cat.stdin_mode = StdinMode::pipe;
    const ExecPtr old = exec(before, cat);
    until_size(old, 4);
    REQUIRE(run(old->write_stdin("go\n", soon())));
    stop();
    start();
    const ExecPtr exec = *(*engine->find(tenant, id))->find_exec(exec_id_from_number(1));
    REQUIRE(wait_text(exec) == "one\ntwo\n");
    REQUIRE(exec->exit_code() == 9);
}

TEST_CASE_METHOD(Host, "the answer does not wait for what a program leaves in the background") {
    const SandboxPtr sandbox = create();
    const ExecPtr exec = shell(sandbox, "(sleep 0.3; echo late) & echo early");
    const auto begun = std::chrono::steady_clock::now();
    REQUIRE(wait_text(exec) == "early\n");
    REQUIRE(std::chrono::steady_clock::now() - begun < std::chrono::milliseconds{250});
    until_size(exec, 11);
    REQUIRE(text(exec->out()) == "early\nlate\n");
}

TEST_CASE_METHOD(Host, "a flood is cut at the cap, the program never notices, and the count is right") {
    const SandboxPtr sandbox = create();
    ExecRequest request;
    request.argv = {"head", "-c", "100000000", "/dev/zero"};
    request.output_bytes = 1'000'000;
    const ExecPtr exec = this->exec(sandbox, request);
    REQUIRE(run(exec->wait(soon())));
    REQUIRE(exec->exit_code() == 0);
    REQUIRE(exec->out().size() == 1'000'000);
    REQUIRE(exec->out().dropped() == 99'000'000);
}

TEST_CASE_METHOD(Host, "a paused sandbox stands still and goes on") {
    const SandboxPtr sandbox = create();
    const ExecPtr exec = shell(sandbox, "for i in 1 2 3 4 5 6; do echo $i; sleep 0.05; done");
    until_size(exec, 2);
    REQUIRE(run(sandbox->pause(soon())));
    REQUIRE(sandbox->state() == SandboxState::paused);
    const ledger::Counters then = sandbox->usage().counters;
    REQUIRE(run(sandbox->exec({}, soon())).error().is(Errc::conflict));
    stop();  // and over a restart
    start();
    const SandboxPtr again = *engine->find(tenant, sandbox->record().id);
    REQUIRE(again->state() == SandboxState::paused);
    REQUIRE(run(again->resume(soon())));
    const ExecPtr resumed = *again->find_exec(exec_id_from_number(1));
    REQUIRE(wait_text(resumed) == "1\n2\n3\n4\n5\n6\n");
    REQUIRE(again->usage().counters.cpu_ns >= then.cpu_ns);
}

TEST_CASE_METHOD(Host, "destroying a sandbox ends what runs in it and what reads from it") {
    const SandboxPtr sandbox = create();
    const ExecPtr exec = shell(sandbox, "echo started; sleep 1000");
    until_size(exec, 8);
    bool told = false;
    std::array<std::byte, 16> buffer{};
    asio::co_spawn(context, exec->out().read(8, buffer, soon()), [&](std::exception_ptr, Result<std::size_t> got) { told = got && *got == 0; });
    REQUIRE(run(engine->destroy(sandbox, "deleted", soon())));
    REQUIRE(run(exec->wait(soon())));
    REQUIRE(exec->status() == ExecStatus::signaled);
    REQUIRE(told);
    ledger::UsageQuery query;
    query.to = WallTime::max();
    query.group_by = ledger::GroupBy::exec;
    auto page = run(engine->usage(query));
    REQUIRE(page);
    REQUIRE(page->rows.size() == 2);
}
