#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sandboxd/agent/protocol.hpp"
#include "sandboxd/core/fd.hpp"

namespace sandboxd::init_test {

// One received packet and its descriptors.
struct Answer {
    agent::Header header;
    std::vector<std::byte> bytes;
    std::vector<Fd> fds;

    // Fails the test when the packet is anything but a whole Body. Its strings point into `bytes`.
    template <class Body>
    [[nodiscard]] Body body() const {
        wire::Reader reader{bytes.data(), bytes.size()};
        agent::Header ignored;
        Body out;
        require(agent::decode_header(reader, ignored) && agent::decode_body(reader, out), "a whole body");
        return out;
    }
    static void require(bool holds, const char* what);
};

// The API's side of the agent protocol, blocking, with a limit of 20 s on every wait. Every unexpected answer fails the
// test and names the errno and step in it. Events that come while a reply is awaited are kept for `exited`.
class Client {
public:
    explicit Client(Fd socket) noexcept : socket_{std::move(socket)} {}

    template <class Body>
    std::uint32_t send(agent::Type type, const Body& body, std::span<const int> fds = {}) {
        std::vector<std::byte> buffer(agent::kMaxMessage);
        const std::size_t size = agent::encode(buffer.data(), buffer.size(), type, ++request_, body);
        Answer::require(size > 0, "an encoded request");
        send_bytes({buffer.data(), size}, fds);
        return request_;
    }
    void send_bytes(std::span<const std::byte> bytes, std::span<const int> fds = {});
    // The reply to the request sent last.
    Answer reply();
    Answer expect(agent::Type type);
    agent::Failure expect_error();
    template <class Body>
    Answer call(agent::Type type, const Body& body, agent::Type answer) {
        send(type, body);
        return expect(answer);
    }
    // hello and the states that follow, by exec number order of arrival.
    std::vector<Answer> hello();
    void ping() { call(agent::Type::ping, agent::Empty{}, agent::Type::pong); }
    agent::ExecState exited(std::uint64_t exec);
    // What was told so far of the calls that the exec was refused.
    const agent::ExecRefusals& refusals(std::uint64_t exec) { return refusals_[exec]; }
    // Drops what comes until a packet that `wanted` takes.
    void await_other(const std::function<bool(const Answer&)>& wanted);
    // True once the other end has closed the connection.
    bool hung_up();

private:
    Answer receive();
    void keep(Answer event);

    Fd socket_;
    std::uint32_t request_ = 0;
    std::vector<Answer> events_;
    std::map<std::uint64_t, agent::ExecRefusals> refusals_;
};

// What an exec is asked for; the strings of the request live here.
struct Command {
    std::uint64_t exec = 1;
    std::vector<std::string> argv;
    std::uint32_t uid = 1000;
    std::uint32_t flags = 0;
    std::uint64_t timeout_ms = 0;
    std::uint32_t kill_grace_ms = 200;
    std::string cwd = "/home/user";
    std::vector<std::string> env = {"PATH=/usr/bin:/bin", "HOME=/home/user"};
    std::uint16_t rows = 24;
    std::uint16_t cols = 80;
};

std::uint32_t send_exec(Client& client, const Command& command, std::span<const int> fds = {});
Answer start(Client& client, const Command& command, std::span<const int> fds = {});

struct Ran {
    std::string out;
    std::string err;
    agent::ExecState state;
};
// Starts, waits for the exit, forgets, and reads what was written.
Ran run(Client& client, const Command& command);
// run() of `sh -c script` as uid.
Ran shell(Client& client, std::string_view script, std::uint32_t uid = 1000);
void forget(Client& client, std::uint64_t exec);

// Everything up to the end of file; fails the test after 20 s.
std::string read_all(int fd);
// Reads until the text has been seen.
std::string read_until(int fd, std::string_view text);
bool readable_within(int fd, int milliseconds);

// For what only the kernel's own clean-up decides: whether the condition comes true within ten seconds.
[[nodiscard]] bool eventually(const std::function<bool()>& holds);

struct Options {
    std::uint32_t cpu_milli = 1000;
    std::uint64_t memory_bytes = 512ULL << 20;
    bool allow_root = true;
    // Lets through what the shipped profile refuses of namespaces, mounts and device nodes: for what holds without it.
    bool weak_seccomp = false;
};

// One sandbox, made by a manager of its own with the default policy, gone when this is.
class Sandbox {
public:
    explicit Sandbox(const Options& options = {});
    ~Sandbox();
    Client& client();
    // A new connection, as an API that comes back makes it.
    Client connect();
    // PID 1 as the host sees it.
    [[nodiscard]] int init_pid() const;
    // Whether the exec's control group is there still.
    [[nodiscard]] bool has_leaf(std::uint64_t exec) const;
    // The processes of the init's own group: PID 1 and its tasks.
    [[nodiscard]] std::string init_processes() const;
    // Of an exec, as the host sees them.
    [[nodiscard]] std::vector<int> processes(std::uint64_t exec) const;
    // The host's id of the jail's root.
    [[nodiscard]] std::uint32_t base_id() const;
    void set_limits(std::uint32_t cpu_milli, std::uint64_t memory_bytes);
    [[nodiscard]] std::string state_dir() const;
    // The state file that the manager keeps of it.
    [[nodiscard]] std::string state() const;
    [[nodiscard]] double ready_milliseconds() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sandboxd::init_test
