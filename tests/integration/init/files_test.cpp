// File requests: they do what the user could do, to the files that the user means.
#include <errno.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "sandboxd/core/sys.hpp"
#include "tests/integration/init/sandbox.hpp"

namespace sandboxd::init_test {
namespace {

agent::FileOpen opening(const std::string& path, agent::OpenMode mode = agent::OpenMode::read, std::uint32_t uid = 1000) {
    agent::FileOpen open;
    open.mode = mode;
    open.uid = open.gid = uid;
    open.path = path;
    return open;
}

agent::FileRef reference(const std::string& path, bool recursive = false, std::uint32_t uid = 1000) {
    agent::FileRef ref;
    ref.uid = ref.gid = uid;
    ref.recursive = recursive;
    ref.path = path;
    return ref;
}

int error_of(Client& client, agent::Type type, const auto& body) {
    client.send(type, body);
    return client.expect_error().error;
}

std::string read_file(Client& client, const std::string& path, std::uint32_t uid = 1000) {
    const Answer answer = client.call(agent::Type::file_open, opening(path, agent::OpenMode::read, uid), agent::Type::file_opened);
    REQUIRE(answer.fds.size() == 1);
    return read_all(answer.fds[0].get());
}

// Begins a replacement with this content; the answer holds the temporary file and the session.
Answer begin(Client& client, agent::FileOpen open, std::string_view content) {
    open.mode = agent::OpenMode::replace;
    Answer answer = client.call(agent::Type::file_open, open, agent::Type::file_opened);
    REQUIRE(answer.fds.size() == 2);
    REQUIRE(sys::write_all(answer.fds[0].get(), std::as_bytes(std::span{content.data(), content.size()})));
    return answer;
}

int commit(const Answer& session) {
    const std::array<std::byte, 1> go{std::byte{'c'}};
    REQUIRE(sys::send_message(session.fds[1].get(), go));
    REQUIRE(readable_within(session.fds[1].get(), 20'000));
    std::array<std::byte, 64> buffer{};
    const auto got = sys::receive_message(session.fds[1].get(), buffer);
    REQUIRE(got);
    wire::Reader reader{buffer.data(), got->size};
    agent::Failure failure;
    REQUIRE(reader(failure));
    return failure.error;
}

struct Listed {
    std::map<std::string, agent::FileKind> entries;
    std::map<std::string, std::string> targets;
    int end = -1;
};

Listed list(Client& client, const std::string& path, std::uint32_t depth = 1, std::uint32_t limit = 10'000) {
    agent::FileList request;
    request.uid = request.gid = 1000;
    request.depth = depth;
    request.limit = limit;
    request.path = path;
    const Answer answer = client.call(agent::Type::file_list, request, agent::Type::file_listing);
    REQUIRE(answer.fds.size() == 1);
    Listed listed;
    std::vector<std::byte> buffer(32 * 1024);
    while (listed.end < 0) {
        REQUIRE(readable_within(answer.fds[0].get(), 20'000));
        const auto got = sys::receive_message(answer.fds[0].get(), buffer);
        REQUIRE(got);
        wire::Reader reader{buffer.data(), got->size};
        agent::ListPacket kind{};
        REQUIRE(reader(kind));
        if (kind == agent::ListPacket::end) {
            agent::Failure failure;
            REQUIRE(reader(failure));
            listed.end = failure.error;
            continue;
        }
        REQUIRE(kind == agent::ListPacket::entry);
        agent::FileInfo info;
        REQUIRE(agent::decode_body(reader, info));
        listed.entries[std::string{info.path}] = info.kind;
        if (!info.target.empty()) listed.targets[std::string{info.path}] = info.target;
    }
    return listed;
}

}  // namespace

TEST_CASE("reading opens regular files that the user may read, and nothing else") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    shell(client, "cd ~; echo content > file; ln -s file link; ln -s /etc/../home/user/file absolute; mkfifo fifo; mkdir dir; echo x > secret; chmod 0 secret; ln -s loop loop");
    CHECK(read_file(client, "/home/user/file") == "content\n");
    CHECK(read_file(client, "/home/user/link") == "content\n");
    CHECK(read_file(client, "/home/user/absolute") == "content\n");
    CHECK(error_of(client, agent::Type::file_open, opening("/home/user/dir")) == EISDIR);
    CHECK(error_of(client, agent::Type::file_open, opening("/home/user/fifo")) == EINVAL);
    CHECK(error_of(client, agent::Type::file_open, opening("/dev/zero")) == EINVAL);
    CHECK(error_of(client, agent::Type::file_open, opening("/home/user/missing")) == ENOENT);
    CHECK(error_of(client, agent::Type::file_open, opening("/home/user/loop")) == ELOOP);
    CHECK(error_of(client, agent::Type::file_open, opening("relative")) == EINVAL);
    CHECK(error_of(client, agent::Type::file_open, opening(std::string{"/home/user/file\0x", 17})) == EINVAL);
    CHECK(error_of(client, agent::Type::file_open, opening("/home/user/secret")) == EACCES);
    CHECK(read_file(client, "/home/user/secret", 0) == "x\n");  // the jail's root may
}

TEST_CASE("a replacement appears whole at its commit and not before") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    SECTION("a new file, with its folders and its mode") {
        const std::string path = "/home/user/a/b/new";
        auto open = opening(path);
        open.make_parents = true;
        open.permissions = 0750;
        const Answer session = begin(client, open, "fresh");
        CHECK(error_of(client, agent::Type::file_open, opening("/home/user/a/b/new")) == ENOENT);
        CHECK(commit(session) == 0);
        CHECK(read_file(client, "/home/user/a/b/new") == "fresh");
        CHECK(shell(client, "stat -c '%a %u %g' ~/a/b/new; ls -A ~/a/b | wc -l").out == "750 1000 1000\n1\n");
    }
    SECTION("an existing file keeps its mode, and readers of the old one their content") {
        shell(client, "echo old > ~/file; chmod 640 ~/file");
        const Answer reader = client.call(agent::Type::file_open, opening("/home/user/file"), agent::Type::file_opened);
        CHECK(commit(begin(client, opening("/home/user/file"), "new")) == 0);
        CHECK(read_all(reader.fds[0].get()) == "old\n");
        CHECK(read_file(client, "/home/user/file") == "new");
        CHECK(shell(client, "stat -c %a ~/file").out == "640\n");
    }
    SECTION("root's replacement leaves the file to its owner") {
        shell(client, "echo old > ~/file");
        CHECK(commit(begin(client, opening("/home/user/file", agent::OpenMode::replace, 0), "new")) == 0);
        CHECK(shell(client, "stat -c '%u %g' ~/file; cat ~/file").out == "1000 1000\nnew");
    }
    SECTION("hanging up leaves the old file and no temporary") {
        shell(client, "echo old > ~/file");
        { const Answer dropped = begin(client, opening("/home/user/file"), "half"); }
        CHECK(eventually([&] { return shell(client, "ls -A ~ | grep -c upload").out == "0\n"; }));
        CHECK(read_file(client, "/home/user/file") == "old\n");
    }
    SECTION("through a link the file behind it is replaced, and the link stays") {
        shell(client, "mkdir ~/d; echo old > ~/d/file; ln -s d/file ~/relative; ln -s /home/user/relative ~/twice; ln -s d/later ~/dangling");
        CHECK(commit(begin(client, opening("/home/user/twice"), "new")) == 0);
        CHECK(commit(begin(client, opening("/home/user/dangling"), "made")) == 0);
        CHECK(shell(client, "cat ~/d/file ~/d/later; readlink ~/twice ~/relative").out == "newmade/home/user/relative\nd/file\n");
    }
}

TEST_CASE("a replacement is refused where writing would be") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    shell(client, "cd ~; mkfifo fifo; mkdir dir; echo x > frozen; chmod 444 frozen; ln -s loop loop");
    const auto refused = [&](const std::string& path) { return error_of(client, agent::Type::file_open, opening(path, agent::OpenMode::replace)); };
    CHECK(refused("/home/user/fifo") == EINVAL);
    CHECK(refused("/home/user/dir") == EISDIR);
    CHECK(refused("/home/user/frozen") == EACCES);
    CHECK(refused("/home/user/loop") == ELOOP);
    CHECK(refused("/home/user/no/such/parent") == ENOENT);
    CHECK(refused("/etc/planted") == EACCES);
    CHECK(refused("/dev/null") == EINVAL);
    CHECK(shell(client, "ls -A ~ | grep -c upload").out == "0\n");
}

TEST_CASE("stat tells of the link or of what it names") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    shell(client, "cd ~; printf 12345 > file; chmod 604 file; ln -s file link");
    Answer answer = client.call(agent::Type::file_stat, reference("/home/user/link"), agent::Type::file_info);
    auto info = answer.body<agent::FileInfo>();
    CHECK(info.kind == agent::FileKind::symlink);
    CHECK(info.target == "file");
    answer = client.call(agent::Type::file_stat, reference("/home/user/link", true), agent::Type::file_info);
    info = answer.body<agent::FileInfo>();
    CHECK(info.kind == agent::FileKind::file);
    CHECK(info.size == 5);
    CHECK(info.mode == 0604);
    CHECK(info.uid == 1000);
    CHECK(info.modified_ns > 0);
    CHECK(error_of(client, agent::Type::file_stat, reference("/home/user/missing")) == ENOENT);
}

TEST_CASE("a listing has the asked depth, follows no link, and says when it was cut") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    shell(client, "mkdir -p ~/t/a/b/c; touch ~/t/f ~/t/a/g ~/t/a/b/h; ln -s / ~/t/root");
    const Listed flat = list(client, "/home/user/t");
    CHECK(flat.end == 0);
    CHECK(flat.entries.size() == 3);
    CHECK(flat.entries.at("a") == agent::FileKind::directory);
    CHECK(flat.entries.at("f") == agent::FileKind::file);
    CHECK(flat.entries.at("root") == agent::FileKind::symlink);
    CHECK(flat.targets.at("root") == "/");
    const Listed two = list(client, "/home/user/t", 2);
    CHECK(two.entries.size() == 5);
    CHECK(two.entries.count("a/b") == 1);
    CHECK(two.entries.count("a/b/h") == 0);
    CHECK(list(client, "/home/user/t", 10).entries.size() == 7);
    const Listed cut = list(client, "/home/user/t", 10, 2);
    CHECK(cut.entries.size() == 2);
    CHECK(cut.end == E2BIG);
    shell(client, "mkdir ~/many; cd ~/many; seq 3000 | xargs touch");
    CHECK(list(client, "/home/user/many").entries.size() == 3000);
    CHECK(error_of(client, agent::Type::file_list, [] {
              agent::FileList request;
              request.uid = request.gid = 1000;
              request.path = "/home/user/t/f";
              return request;
          }()) == ENOTDIR);
}

TEST_CASE("removing takes whole trees of any depth and never what a link names") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    shell(client, "mkdir -p ~/keep ~/tree/x; touch ~/keep/file ~/tree/x/y; ln -s ../keep ~/tree/link");
    shell(client, "python3 -c \"import os\nos.chdir('/home/user/tree')\nfor i in range(1500):\n  os.mkdir('deep'); os.chdir('deep')\n\"");
    client.call(agent::Type::file_remove, reference("/home/user/tree", true), agent::Type::ok);
    CHECK(shell(client, "ls -A ~/keep; ls -d ~/tree 2>/dev/null").out == "file\n");
    CHECK(error_of(client, agent::Type::file_remove, reference("/home/user/tree", true)) == ENOENT);
    shell(client, "mkdir -p ~/full/x");
    CHECK(error_of(client, agent::Type::file_remove, reference("/home/user/full")) == ENOTEMPTY);
    CHECK(error_of(client, agent::Type::file_remove, reference("/etc/passwd")) == EACCES);
    CHECK(shell(client, "test -e /etc/passwd && ls -d ~/full").out == "/home/user/full\n");
}

TEST_CASE("folders are made and names changed as the user could") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    client.call(agent::Type::file_mkdir, reference("/home/user/p/q", true), agent::Type::ok);
    client.call(agent::Type::file_mkdir, reference("/home/user/p/q", true), agent::Type::ok);
    CHECK(error_of(client, agent::Type::file_mkdir, reference("/home/user/p/q")) == EEXIST);
    CHECK(error_of(client, agent::Type::file_mkdir, reference("/home/user/z/q")) == ENOENT);
    CHECK(error_of(client, agent::Type::file_mkdir, reference("/usr/planted")) != 0);
    agent::FileRename rename;
    rename.uid = rename.gid = 1000;
    rename.from = "/home/user/p/q";
    rename.to = "/home/user/r";
    client.call(agent::Type::file_rename, rename, agent::Type::ok);
    CHECK(shell(client, "stat -c '%F %u' ~/r; ls -A ~/p").out == "directory 1000\n");
    CHECK(error_of(client, agent::Type::file_rename, rename) == ENOENT);
}

TEST_CASE("a watch tells of changes, also in folders that are made later") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    agent::FileWatch watch;
    watch.uid = watch.gid = 1000;
    watch.recursive = true;
    watch.path = "/home/user";
    const Answer answer = client.call(agent::Type::file_watch, watch, agent::Type::file_listing);
    REQUIRE(answer.fds.size() == 1);
    shell(client, "cd ~; echo 1 > f; chmod 600 f; mkdir sub; sleep 0.3; echo 2 > sub/g; mv f h; rm h");
    using Kind = agent::FileEventKind;
    std::set<std::pair<Kind, std::string>> seen;
    std::vector<std::byte> buffer(32 * 1024);
    while (seen.count({Kind::remove, "h"}) == 0) {
        REQUIRE(readable_within(answer.fds[0].get(), 20'000));
        const auto got = sys::receive_message(answer.fds[0].get(), buffer);
        REQUIRE(got);
        wire::Reader reader{buffer.data(), got->size};
        agent::ListPacket kind{};
        agent::FileEvent event;
        REQUIRE((reader(kind) && kind == agent::ListPacket::event && agent::decode_body(reader, event)));
        seen.emplace(event.kind, event.path);
    }
    for (const auto& [kind, path] : std::vector<std::pair<Kind, std::string>>{
             {Kind::create, "f"}, {Kind::write, "f"}, {Kind::chmod, "f"}, {Kind::create, "sub"}, {Kind::create, "sub/g"}, {Kind::write, "sub/g"}, {Kind::rename, "f"}}) {
        INFO(static_cast<int>(kind) << " " << path);
        CHECK(seen.count({kind, path}) == 1);
    }
}

TEST_CASE("no task is left when the API has hung up on its streams") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    const auto tasks = [&] {
        const std::string pids = sandbox.init_processes();
        return std::count(pids.begin(), pids.end(), '\n') - 1;
    };
    {
        std::vector<Answer> streams;
        agent::FileWatch watch;
        watch.uid = watch.gid = 1000;
        watch.path = "/home/user";
        for (std::uint32_t i = 0; i < agent::kMaxFileTasks; ++i) streams.push_back(client.call(agent::Type::file_watch, watch, agent::Type::file_listing));
        CHECK(tasks() == agent::kMaxFileTasks);
        client.send(agent::Type::file_stat, reference("/home/user"));
        const auto failure = client.expect_error();
        CHECK(failure.error == EAGAIN);
        CHECK(failure.step == agent::Step::busy);
    }
    CHECK(eventually([&] { return tasks() == 0; }));
    client.call(agent::Type::file_stat, reference("/home/user"), agent::Type::file_info);
}

TEST_CASE("a port of the sandbox is reached by its socket, on either loopback") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    for (const std::string address : {"127.0.0.1", "::1"}) {
        INFO(address);
        Command server;
        server.exec = address.size();
        server.argv = {"python3", "-c",
                       "import socket,sys\na=sys.argv[1]\ns=socket.create_server((a,8123),family=socket.AF_INET6 if ':' in a else socket.AF_INET)\n"
                       "print('ready',flush=True)\nc,_=s.accept()\nc.sendall(b'hello from '+c.recv(100))", address};
        Answer started = start(client, server);
        read_until(started.fds[0].get(), "ready");
        agent::ConnectPort port;
        port.port = 8123;
        const Answer connected = client.call(agent::Type::connect_port, port, agent::Type::connected);
        REQUIRE(connected.fds.size() == 1);
        const std::string_view name = "api";
        REQUIRE(sys::write_all(connected.fds[0].get(), std::as_bytes(std::span{name.data(), name.size()})));
        CHECK(read_all(connected.fds[0].get()) == "hello from api");
        CHECK(client.exited(server.exec).status == 0);
        CHECK(error_of(client, agent::Type::connect_port, port) == ECONNREFUSED);
    }
}

}  // namespace sandboxd::init_test
