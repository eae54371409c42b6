#include "tests/integration/init/sandbox.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/sys.hpp"
#include "sandboxd/manager/manager.hpp"
#include "sandboxd/programs.hpp"

namespace sandboxd::init_test {
namespace {

namespace asio = boost::asio;

constexpr int kPatienceMs = 20'000;

template <class T>
T run_task(asio::io_context& context, asio::awaitable<T> task) {
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

Deadline soon() { return Deadline::after(std::chrono::seconds{20}); }

std::string block(const std::vector<std::string>& items) {
    std::string out;
    for (const std::string& item : items) out += item + '\0';
    return out;
}

void wait_readable(int fd) {
    INFO("waiting for a descriptor to become readable");
    REQUIRE(readable_within(fd, kPatienceMs));
}

}  // namespace

void Answer::require(bool holds, const char* what) {
    INFO(what);
    REQUIRE(holds);
}

void Client::send_bytes(std::span<const std::byte> bytes, std::span<const int> fds) {
    const auto sent = sys::send_message(socket_.get(), bytes, fds);
    INFO((sent ? std::string{} : sent.error().message()));
    REQUIRE(sent);
}

Answer Client::receive() {
    wait_readable(socket_.get());
    Answer answer;
    answer.bytes.resize(agent::kMaxMessage);
    auto got = sys::receive_message(socket_.get(), answer.bytes);
    INFO((got ? std::string{"hung up"} : got.error().message()));
    REQUIRE(got);
    REQUIRE(got->size > 0);
    answer.bytes.resize(got->size);
    answer.fds = std::move(got->fds);
    wire::Reader reader{answer.bytes.data(), answer.bytes.size()};
    REQUIRE(agent::decode_header(reader, answer.header));
    return answer;
}

Answer Client::reply() {
    for (;;) {
        Answer answer = receive();
        if (answer.header.request == request_) return answer;
        keep(std::move(answer));
    }
}

Answer Client::expect(agent::Type type) {
    Answer answer = reply();
    if (answer.header.type == agent::Type::error && type != agent::Type::error) {
        const auto failure = answer.body<agent::Failure>();
        FAIL("errno " << failure.error << " at step " << static_cast<int>(failure.step));
    }
    REQUIRE(answer.header.type == type);
    return answer;
}

agent::Failure Client::expect_error() { return expect(agent::Type::error).body<agent::Failure>(); }

std::vector<Answer> Client::hello() {
    const auto ok = call(agent::Type::hello, agent::Empty{}, agent::Type::hello_ok).body<agent::HelloOk>();
    std::vector<Answer> states;
    for (;;) {
        Answer answer = reply();
        if (answer.header.type == agent::Type::sync_done) break;
        REQUIRE(answer.header.type == agent::Type::exec_state);
        states.push_back(std::move(answer));
    }
    REQUIRE(states.size() == ok.execs);
    return states;
}

agent::ExecState Client::exited(std::uint64_t exec) {
    for (;;) {
        for (auto event = events_.begin(); event != events_.end(); ++event) {
            const auto state = event->body<agent::ExecState>();
            if (state.exec != exec) continue;
            events_.erase(event);
            return state;
        }
        keep(receive());
    }
}

void Client::keep(Answer event) {
    if (event.header.type == agent::Type::exec_refusals) {
        const auto told = event.body<agent::ExecRefusals>();
        refusals_[told.exec] = told;
        return;
    }
    REQUIRE(event.header.type == agent::Type::exec_exited);
    events_.push_back(std::move(event));
}

void Client::await_other(const std::function<bool(const Answer&)>& wanted) {
    while (!wanted(receive())) {
    }
}

bool Client::hung_up() {
    if (!readable_within(socket_.get(), kPatienceMs)) return false;
    std::array<std::byte, 64> buffer{};
    const auto got = sys::receive_message(socket_.get(), buffer);
    return !got || got->size == 0;
}

std::uint32_t send_exec(Client& client, const Command& command, std::span<const int> fds) {
    const std::string argv = block(command.argv);
    const std::string env = block(command.env);
    agent::Exec request;
    request.exec = command.exec;
    request.flags = command.flags;
    request.uid = request.gid = command.uid;
    request.timeout_ms = command.timeout_ms;
    request.kill_grace_ms = command.kill_grace_ms;
    request.rows = command.rows;
    request.cols = command.cols;
    request.cwd = command.cwd;
    request.argv = argv;
    request.env = env;
    return client.send(agent::Type::exec, request, fds);
}

Answer start(Client& client, const Command& command, std::span<const int> fds) {
    send_exec(client, command, fds);
    return client.expect(agent::Type::exec_started);
}

void forget(Client& client, std::uint64_t exec) {
    agent::ExecRef ref;
    ref.exec = exec;
    client.call(agent::Type::forget, ref, agent::Type::ok);
}

Ran run(Client& client, const Command& command) {
    const Answer started = start(client, command);
    Ran ran;
    ran.state = client.exited(command.exec);
    forget(client, command.exec);
    ran.out = read_all(started.fds.at(0).get());
    ran.err = read_all(started.fds.at(1).get());
    return ran;
}

Ran shell(Client& client, std::string_view script, std::uint32_t uid) {
    static std::uint64_t next = 1'000'000;
    Command command;
    command.exec = next++;
    command.argv = {"sh", "-c", std::string{script}};
    command.uid = uid;
    return run(client, command);
}

bool readable_within(int fd, int milliseconds) {
    pollfd wait{fd, POLLIN, 0};
    return ::poll(&wait, 1, milliseconds) == 1;
}

std::string read_all(int fd) {
    std::string out;
    std::array<std::byte, 4096> buffer{};
    for (;;) {
        wait_readable(fd);
        const auto n = sys::read_some(fd, buffer);
        REQUIRE(n);
        if (*n == 0) return out;
        out.append(reinterpret_cast<const char*>(buffer.data()), *n);
    }
}

std::string read_until(int fd, std::string_view text) {
    std::string out;
    std::array<std::byte, 4096> buffer{};
    while (out.find(text) == std::string::npos) {
        INFO("read so far: " << out);
        REQUIRE(readable_within(fd, kPatienceMs));
        const auto n = sys::read_some(fd, buffer);
        REQUIRE(n);
        REQUIRE(*n > 0);
        out.append(reinterpret_cast<const char*>(buffer.data()), *n);
    }
    return out;
}

bool eventually(const std::function<bool()>& holds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{30};
    while (!holds()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
    return true;
}

// Every mention of a system call in a profile: in lists of names, and as rules about its arguments.
void forget_call(nlohmann::json& node, const std::string& name) {
    if (node.is_object()) {
        for (auto& value : node) forget_call(value, name);
    }
    if (!node.is_array()) return;
    for (auto item = node.begin(); item != node.end();) {
        const bool same = (item->is_string() && *item == name) || (item->is_object() && item->value("syscall", "") == name);
        item = same ? node.erase(item) : item + 1;
    }
}

std::string weak_profile() {
    nlohmann::json profile = nlohmann::json::parse(embedded_seccomp_profile());
    for (const char* name : {"unshare", "clone", "mount", "umount2", "mknod", "mknodat", "setns", "chroot"}) {
        forget_call(profile, name);
        profile["allow"].push_back(name);
    }
    return profile.dump();
}

struct Sandbox::Impl {
    explicit Impl(const Options& options) {
        if (::geteuid() != 0) {
            WARN("needs root");
            std::exit(77);
        }
        char name[] = "/tmp/sbx-init-XXXXXX";
        state_dir = ::mkdtemp(name);
        manager::ManagerConfig config;
        config.state_dir = state_dir;
        config.instance = "test" + std::to_string(::getpid());
        config.init_binary = *sys::open(SANDBOX_INIT, O_PATH);
        config.sudo_client = *sys::open(SANDBOX_SUDO, O_PATH);
        config.seccomp_profile = options.weak_seccomp ? weak_profile() : std::string{embedded_seccomp_profile()};
        config.seccomp_strict = std::string{embedded_seccomp_strict()};
        config.seccomp_debug = std::string{embedded_seccomp_debug()};
        config.pool_bytes = 1ULL << 30;
        auto started = run_task(context, manager::Manager::start(context.get_executor(), std::move(config)));
        if (!started) FAIL(started.error().message());
        manager = *std::move(started);

        control::CreateSpec spec;
        spec.id = id;
        spec.template_name = "host";
        spec.hostname = "sandbox";
        spec.limits = limits;
        spec.limits.cpu_milli = options.cpu_milli;
        spec.limits.memory_bytes = options.memory_bytes;
        spec.allow_root = options.allow_root;
        limits = spec.limits;
        const auto before = std::chrono::steady_clock::now();
        auto created = run_task(context, manager->create(std::move(spec), soon()));
        ready = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - before).count();
        if (!created) FAIL(created.error().message());
        memory_dir = std::move(created->memory_dir);
        client.emplace(std::move(created->agent));
        client->hello();
    }
    ~Impl() {
        client.reset();
        if (manager) {
            (void)run_task(context, manager->destroy(id, soon()));  // a failing test must not leave a jail behind
            (void)run_task(context, manager->stop(soon()));
        }
        manager.reset();
        std::error_code ignored;
        std::filesystem::remove_all(state_dir, ignored);
    }

    asio::io_context context;
    std::string state_dir;
    SandboxId id = SandboxId::trusted("initsandbox1");
    policies::Limits limits{1000, 512ULL << 20, 64ULL << 20, 256, 64ULL << 20};
    std::unique_ptr<manager::Manager> manager;
    Fd memory_dir;
    std::optional<Client> client;
    double ready = 0;
};

Sandbox::Sandbox(const Options& options) : impl_{std::make_unique<Impl>(options)} {}
Sandbox::~Sandbox() = default;
Client& Sandbox::client() { return *impl_->client; }
double Sandbox::ready_milliseconds() const { return impl_->ready; }

Client Sandbox::connect() {
    auto handle = run_task(impl_->context, impl_->manager->reconnect(impl_->id, soon()));
    if (!handle) FAIL(handle.error().message());
    return Client{std::move(handle->agent)};
}

std::string Sandbox::init_processes() const {
    auto text = sys::read_file_at(impl_->memory_dir.get(), "init/cgroup.procs");
    REQUIRE(text);
    return *std::move(text);
}

std::vector<int> Sandbox::processes(std::uint64_t exec) const {
    const std::string path = "work/e" + std::to_string(exec) + "/cgroup.procs";
    const auto text = sys::read_file_at(impl_->memory_dir.get(), path.c_str());
    REQUIRE(text);
    std::istringstream words{*text};
    std::vector<int> out;
    for (int pid = 0; words >> pid;) out.push_back(pid);
    return out;
}

std::uint32_t Sandbox::base_id() const {
    std::istringstream map{*sys::read_file("/proc/" + std::to_string(init_pid()) + "/uid_map")};
    std::uint32_t inside = 0;
    std::uint32_t outside = 0;
    map >> inside >> outside;
    REQUIRE(outside >= 65536);
    return outside;
}

void Sandbox::set_limits(std::uint32_t cpu_milli, std::uint64_t memory_bytes) {
    impl_->limits.cpu_milli = cpu_milli;
    impl_->limits.memory_bytes = memory_bytes;
    const auto done = run_task(impl_->context, impl_->manager->set_limits(impl_->id, impl_->limits, soon()));
    INFO((done ? std::string{} : done.error().message()));
    REQUIRE(done);
}

std::string Sandbox::state_dir() const { return impl_->state_dir; }

std::string Sandbox::state() const {
    auto text = sys::read_file(impl_->state_dir + "/sandboxes/" + impl_->id.str() + ".json");
    REQUIRE(text);
    return *std::move(text);
}

int Sandbox::init_pid() const { return std::stoi(init_processes()); }

bool Sandbox::has_leaf(std::uint64_t exec) const {
    const std::string name = "work/e" + std::to_string(exec);
    return sys::statat(impl_->memory_dir.get(), name.c_str()).has_value();
}

}  // namespace sandboxd::init_test
