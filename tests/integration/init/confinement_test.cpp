// What a path or a working directory given to the init can reach, and what its processes can do to the init.
#include <errno.h>

#include <catch2/catch.hpp>

#include "tests/integration/init/sandbox.hpp"

namespace sandboxd::init_test {
namespace {

// The init holds descriptors of the host: its control groups. Through one of them ".." leads out of the jail.
std::string host_path_through(int fd) { return "/proc/self/fd/" + std::to_string(fd) + "/../../../../../../../../../../.."; }

constexpr int kHighestDescriptor = 64;

agent::FileOpen opening(const std::string& path, std::uint32_t uid = 1000) {
    agent::FileOpen open;
    open.uid = open.gid = uid;
    open.path = path;
    return open;
}

}  // namespace

TEST_CASE("no descriptor of the init leads a working directory out of the jail") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    for (int fd = 3; fd < kHighestDescriptor; ++fd) {
        Command command;
        command.exec = static_cast<std::uint64_t>(fd);
        command.cwd = host_path_through(fd);
        command.argv = {"/usr/bin/ls"};
        send_exec(client, command);
        INFO("working directory " << command.cwd);
        const auto failure = client.expect_error();
        CHECK(failure.step == agent::Step::cwd);
    }
}

TEST_CASE("no descriptor of the init leads a file request out of the jail") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    for (int fd = 0; fd < kHighestDescriptor; ++fd) {
        const std::string base = host_path_through(fd);
        const std::string path = base + "/etc/hostname";
        INFO("path " << path);
        client.send(agent::Type::file_open, opening(path));
        client.expect_error();
        agent::FileList list;
        list.uid = list.gid = 1000;
        list.path = base;
        client.send(agent::Type::file_list, list);
        client.expect_error();
        agent::FileRef ref;
        ref.uid = ref.gid = 1000;
        ref.recursive = true;
        ref.path = base;
        client.send(agent::Type::file_stat, ref);
        client.expect_error();
    }
}

}  // namespace sandboxd::init_test
