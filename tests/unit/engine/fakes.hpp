#pragma once

// A node whose sandboxes are coroutines on the other end of a socket pair: they speak the agent protocol, and can be
// told to misbehave. Programs are pipes whose far ends the test holds.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sandboxd/agent/protocol.hpp"
#include "sandboxd/control/node.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/core/sys_io.hpp"
#include "sandboxd/engine/tasks.hpp"
#include "tests/unit/engine/run_loop.hpp"

namespace sandboxd::testing {

struct FakeProgram {
    agent::ExecState state;
    std::string argv;
    std::string env;
    std::string cwd;
    std::string files;
    Fd out;    // the program's ends
    Fd err;
    Fd in;
    std::vector<Fd> kept;  // the init's copies of what it handed out
    bool forgotten = false;

    void print(std::string_view text) { REQUIRE(sys::write_all(out.get(), std::as_bytes(std::span{text}))); }
    void complain(std::string_view text) { REQUIRE(sys::write_all(err.get(), std::as_bytes(std::span{text}))); }
    void close_output() {
        out.reset();
        err.reset();
    }
};

class FakeJail : public std::enable_shared_from_this<FakeJail> {
public:
    // True: the message was dealt with. Called before the honest behaviour.
    using Intercept = std::function<bool(FakeJail&, const agent::Header&, wire::Reader)>;

    FakeJail(asio::any_io_executor executor, const std::string& folder) : executor_{executor}, folder_{folder}, changed{executor} {
        std::filesystem::create_directories(folder_ + "/work");
        set_counters("", 0, 0);
    }

    void set_counters(const std::string& leaf, std::uint64_t cpu_ns, std::uint64_t memory) {
        const std::string where = folder_ + "/" + leaf;
        std::filesystem::create_directories(where);
        std::ofstream{where + "/cpuacct.usage"} << cpu_ns << "\n";
        std::ofstream{where + "/memory.usage_in_bytes"} << memory << "\n";
        std::ofstream{where + "/memory.max_usage_in_bytes"} << memory << "\n";
    }
    void set_oom_kills(std::uint64_t exec, int count) {
        std::ofstream{folder_ + "/work/e" + std::to_string(exec) + "/memory.oom_control"} << "oom_kill_disable 0\nunder_oom 0\noom_kill " << count << "\n";
    }

    control::SandboxHandle handle(const SandboxId& id, TaskGroup& tasks) {
        auto pair = sys::seqpacket_pair();
        REQUIRE(pair);
        socket = std::make_shared<Fd>(std::move(pair->first));
        ++connections;
        tasks.spawn("jail", engine::until_cancelled(serve(shared_from_this(), socket)));
        control::SandboxHandle out;
        out.id = id;
        out.agent = std::move(pair->second);
        out.memory_dir = *sys::open(folder_, O_RDONLY | O_DIRECTORY);
        out.cpu_dir = *sys::open(folder_, O_RDONLY | O_DIRECTORY);
        out.pids_dir = *sys::open(folder_, O_RDONLY | O_DIRECTORY);
        out.frozen = frozen;
        return out;
    }

    template <class Body>
    void send(agent::Type type, std::uint32_t request, const Body& body, const std::vector<int>& fds = {}) {
        std::array<std::byte, 4096> buffer{};
        const std::size_t size = agent::encode(buffer.data(), buffer.size(), type, request, body);
        REQUIRE(size > 0);
        (void)sys::send_message(socket->get(), std::span{buffer}.first(size), fds);  // a client that hung up is its own business
    }
    void hang_up() {
        if (socket->valid()) (void)::shutdown(socket->get(), SHUT_RDWR);  // whoever waits on a copy of it must see it too
        socket->reset();
    }

    FakeProgram& program(std::uint64_t exec) {
        REQUIRE(programs.contains(exec));
        return programs.at(exec);
    }
    void exit(std::uint64_t exec, int code, agent::ExitKind kind = agent::ExitKind::exited) {
        FakeProgram& p = program(exec);
        p.state.kind = kind;
        p.state.status = code;
        p.state.ended_ns = static_cast<std::uint64_t>(sys::boot_time().count());
        if (socket->valid()) send(agent::Type::exec_exited, 0, p.state);
    }

    std::map<std::uint64_t, FakeProgram> programs;
    Intercept intercept;
    std::shared_ptr<Fd> socket = std::make_shared<Fd>();
    bool frozen = false;
    int connections = 0;
    std::vector<agent::Type> heard;

private:
    static asio::awaitable<void> serve(std::shared_ptr<FakeJail> self, std::shared_ptr<Fd> connection) {
        std::vector<std::byte> buffer(agent::kMaxMessage);
        while (connection->valid()) {
            auto copy = sys::dup(connection->get());
            if (!copy) co_return;
            if (auto ready = co_await wait_fd(copy->get(), Ready::read, Deadline::never()); !ready) co_return;
            if (!connection->valid()) co_return;
            auto got = sys::receive_message(connection->get(), buffer);
            if (!got || got->size == 0) co_return;
            wire::Reader reader{buffer.data(), got->size};
            agent::Header header;
            REQUIRE(agent::decode_header(reader, header));
            self->heard.push_back(header.type);
            if (!self->intercept || !self->intercept(*self, header, reader)) self->dispatch(header, reader, std::move(got->fds));
            self->changed.notify();
        }
    }

    void dispatch(const agent::Header& header, wire::Reader& reader, std::vector<Fd> fds) {
        switch (header.type) {
            case agent::Type::hello: return hello(header.request);
            case agent::Type::exec: return exec(header.request, reader, std::move(fds));
            case agent::Type::signal: return signal(header.request, reader);
            case agent::Type::forget: return forget(header.request, reader);
            case agent::Type::close_stdin: return close_stdin(header.request, reader);
            case agent::Type::resize: return send(agent::Type::ok, header.request, agent::Empty{});
            default: return refuse(header.request, ENOSYS, agent::Step::request);
        }
    }
    void refuse(std::uint32_t request, int error, agent::Step step) {
        agent::Failure failure;
        failure.error = error;
        failure.step = step;
        send(agent::Type::error, request, failure);
    }
    static std::vector<int> numbers(const std::vector<Fd>& fds) {
        std::vector<int> out;
        for (const Fd& fd : fds) out.push_back(fd.get());
        return out;
    }
    void hello(std::uint32_t request) {
        agent::HelloOk ok;
        for (const auto& [number, p] : programs) ok.execs += p.forgotten ? 0 : 1;
        send(agent::Type::hello_ok, request, ok);
        for (const auto& [number, p] : programs) {
            if (!p.forgotten) send(agent::Type::exec_state, request, p.state, numbers(p.kept));
        }
        send(agent::Type::sync_done, request, agent::Empty{});
    }
    void exec(std::uint32_t request, wire::Reader& reader, std::vector<Fd> fds) {
        agent::Exec body;
        REQUIRE(agent::decode_body(reader, body));
        if (body.argv.substr(0, 7) == "missing") return refuse(request, ENOENT, agent::Step::exec);
        FakeProgram p;
        p.state.exec = body.exec;
        p.state.pid = 100 + static_cast<int>(body.exec);
        p.state.flags = body.flags;
        p.state.started_ns = static_cast<std::uint64_t>(sys::boot_time().count());
        p.argv = std::string{body.argv};
        p.env = std::string{body.env};
        p.cwd = std::string{body.cwd};
        if (!fds.empty()) p.files = *sys::read_file("/proc/self/fd/" + std::to_string(fds[0].get()));
        auto out = sys::pipe();
        auto err = sys::pipe();
        p.kept.push_back(std::move(out->read));
        p.kept.push_back(std::move(err->read));
        p.out = std::move(out->write);
        p.err = std::move(err->write);
        if ((body.flags & agent::kStdin) != 0) {
            auto in = sys::pipe();
            p.kept.push_back(std::move(in->write));
            p.in = std::move(in->read);
        }
        set_counters("work/e" + std::to_string(body.exec), 0, 0);
        agent::ExecStarted started;
        started.exec = body.exec;
        started.pid = p.state.pid;
        FakeProgram& placed = programs.insert_or_assign(body.exec, std::move(p)).first->second;
        send(agent::Type::exec_started, request, started, numbers(placed.kept));
    }
    void signal(std::uint32_t request, wire::Reader& reader) {
        agent::Signal body;
        REQUIRE(agent::decode_body(reader, body));
        const auto found = programs.find(body.exec);
        if (found == programs.end() || found->second.forgotten) return refuse(request, ESRCH, agent::Step::request);
        send(agent::Type::ok, request, agent::Empty{});
        if (body.signal == 9 && found->second.state.kind == agent::ExitKind::running) {
            found->second.close_output();
            exit(body.exec, 9, agent::ExitKind::signaled);
        }
    }
    void forget(std::uint32_t request, wire::Reader& reader) {
        agent::ExecRef body;
        REQUIRE(agent::decode_body(reader, body));
        const auto found = programs.find(body.exec);
        if (found == programs.end() || found->second.forgotten) return refuse(request, ESRCH, agent::Step::request);
        if (found->second.state.kind == agent::ExitKind::running) return refuse(request, EBUSY, agent::Step::request);
        found->second.kept.clear();
        found->second.forgotten = true;
        std::filesystem::remove_all(folder_ + "/work/e" + std::to_string(body.exec));
        send(agent::Type::ok, request, agent::Empty{});
    }
    void close_stdin(std::uint32_t request, wire::Reader& reader) {
        agent::ExecRef body;
        REQUIRE(agent::decode_body(reader, body));
        FakeProgram& p = program(body.exec);
        if (p.kept.size() == 3) p.kept.pop_back();
        p.state.flags &= ~static_cast<std::uint32_t>(agent::kStdin);
        send(agent::Type::ok, request, agent::Empty{});
    }

    asio::any_io_executor executor_;
    std::string folder_;

public:
    Event changed;  // a message was dealt with
};

class FakeNode final : public control::Node {
public:
    FakeNode(asio::any_io_executor executor, std::string folder) : executor_{executor}, folder_{std::move(folder)}, tasks{executor} {}

    asio::awaitable<Result<control::SandboxHandle>> create(control::CreateSpec spec, Deadline) override {
        if (refuse_create) co_return *refuse_create;
        if (hold_create) (void)co_await hold_create->wait(Deadline::never());
        auto jail = std::make_shared<FakeJail>(executor_, folder_ + "/cgroup-" + spec.id.str());
        jail->intercept = intercept;
        jails[spec.id] = jail;
        ++creates;
        co_return jail->handle(spec.id, tasks);
    }
    asio::awaitable<Result<void>> destroy(SandboxId id, Deadline) override {
        ++destroys;
        if (failing_destroys > 0) {
            --failing_destroys;
            co_return Error{Errc::unavailable, "destroy", "the monitor is down"};
        }
        const auto found = jails.find(id);
        if (found == jails.end()) co_return Result<void>{};
        for (auto& [number, p] : found->second->programs) p.close_output();
        found->second->hang_up();
        jails.erase(found);
        co_return Result<void>{};
    }
    asio::awaitable<Result<control::SandboxHandle>> reconnect(SandboxId id, Deadline) override {
        ++reconnects;
        const auto found = jails.find(id);
        if (found == jails.end()) co_return Error{Errc::not_found, "sandbox", id.str()};
        if (unreachable.contains(id)) co_return Error{Errc::timeout, "reconnect", id.str()};
        co_return found->second->handle(id, tasks);
    }
    asio::awaitable<Result<std::vector<SandboxId>>> list(Deadline) override {
        std::vector<SandboxId> out;
        for (const auto& [id, jail] : jails) out.push_back(id);
        co_return out;
    }
    asio::awaitable<Result<void>> set_frozen(SandboxId id, bool frozen, Deadline) override {
        jails.at(id)->frozen = frozen;
        co_return Result<void>{};
    }
    asio::awaitable<Result<void>> set_limits(SandboxId, policies::Limits limits, Deadline) override {
        if (refuse_limits) co_return *refuse_limits;
        last_limits = limits;
        co_return Result<void>{};
    }
    asio::awaitable<Result<std::vector<std::uint64_t>>> disk_usage(std::vector<SandboxId> ids, Deadline) override {
        co_return std::vector<std::uint64_t>(ids.size(), 4096);
    }
    asio::awaitable<Result<control::Attestation>> attest(control::AttestRequest, Deadline) override {
        co_return Error{Errc::incompatible, "attest"};
    }
    asio::awaitable<Result<control::NodeStatus>> status(Deadline) override {
        control::NodeStatus out;
        out.memory_total_bytes = 64ULL << 30;
        out.memory_available_bytes = 32ULL << 30;
        out.sandboxes_max = 100;
        co_return out;
    }
    void drained() override {}

    FakeJail& jail(const SandboxId& id) {
        REQUIRE(jails.contains(id));
        return *jails.at(id);
    }

    std::map<SandboxId, std::shared_ptr<FakeJail>> jails;
    std::set<SandboxId> unreachable;
    FakeJail::Intercept intercept;  // of jails that are made from now on
    std::optional<Error> refuse_create;
    std::optional<Error> refuse_limits;
    std::optional<policies::Limits> last_limits;
    Event* hold_create = nullptr;
    int creates = 0;
    int destroys = 0;
    int failing_destroys = 0;
    int reconnects = 0;

private:
    asio::any_io_executor executor_;
    std::string folder_;

public:
    TaskGroup tasks;
};

}  // namespace sandboxd::testing
