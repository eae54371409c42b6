#include "sandboxd/monitor/monitor.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdlib>
#include <cstring>

#include "sandboxd/attest/attestor.hpp"
#include "sandboxd/attest/self_test.hpp"
#include "sandboxd/attest/sha256.hpp"
#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"
#include "sandboxd/manager/manager.hpp"
#include "sandboxd/monitor/listeners.hpp"
#include "sandboxd/monitor/state_directory.hpp"
#include "sandboxd/monitor/supervisor.hpp"
#include "sandboxd/programs.hpp"

namespace sandboxd::monitor {

namespace {

constexpr std::chrono::seconds kBindPatience{5};
constexpr std::chrono::seconds kStopTimeout{60};
constexpr std::size_t kMaxPolicyFile = 1 << 20;

Result<std::string> text_or(const std::string& path, std::string_view embedded) {
    if (path.empty()) return std::string{embedded};
    return sys::read_file(path, kMaxPolicyFile);
}

Result<manager::ManagerConfig> manager_config(const Config& config) {
    manager::ManagerConfig out;
    out.state_dir = config.state_dir;
    out.instance = instance_name(config.state_dir);
    SBX_TRY(const std::string init, find_program("sandbox-init"));
    SBX_TRY(out.init_binary, sys::open(init, O_PATH));
    SBX_TRY(const std::string sudo, find_program("sandbox-sudo"));
    SBX_TRY(out.sudo_client, sys::open(sudo, O_PATH));
    SBX_TRY(out.seccomp_profile, text_or(config.seccomp_profile, embedded_seccomp_profile()));
    out.seccomp_strict = std::string{embedded_seccomp_strict()};
    out.seccomp_debug = std::string{embedded_seccomp_debug()};
    out.cgroup_parent = config.cgroup_parent;
    out.unsafe_missing_controllers = config.unsafe_missing_controllers;
    out.pool_device = config.pool_device;
    out.pool_bytes = config.pool_bytes;
    out.pool_tmpfs = config.pool_tmpfs;
    out.sandboxes_max = config.sandboxes_max;
    return out;
}

// Descriptors for the API that this process keeps for restarts.
struct ApiFiles {
    Fd config;
    Fd certificate;
    Fd key;
};

// Read here, with root's rights; the API gets the texts and no path.
Result<Fd> pem_memfd(const char* name, const std::string& path) {
    if (path.empty()) return Fd{};
    SBX_TRY(const std::string text, sys::read_file(path, kMaxPolicyFile));
    return sys::memfd(name, text);
}

// The configuration that the API gets differs in two keys: `price_book` and `seccomp_profile` hold texts instead of paths.
Result<ApiFiles> api_files(Config config) {
    SBX_TRY(config.seccomp_profile, text_or(config.seccomp_profile, embedded_seccomp_profile()));
    if (config.price_book.empty()) {
        config.price_book = std::string{embedded_price_book()};
    } else {
        SBX_TRY(config.price_book, sys::read_file(config.price_book, kMaxPolicyFile));
    }
    ApiFiles files;
    SBX_TRY(files.config, sys::memfd("config", to_toml(config)));
    SBX_TRY(files.certificate, pem_memfd("certificate", config.tls_certificate));
    SBX_TRY(files.key, pem_memfd("key", config.tls_key));
    return files;
}

// sd_notify(3): one datagram to $NOTIFY_SOCKET, where systemd started us.
void notify_systemd(std::string_view text) {
    const char* path = std::getenv("NOTIFY_SOCKET");
    sockaddr_un address{};
    if (path == nullptr || std::strlen(path) >= sizeof address.sun_path) return;
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path);
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(path));
    if (path[0] == '@') address.sun_path[0] = '\0';
    const Fd socket{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    // Best effort: without systemd nobody listens.
    (void)::sendto(socket.get(), text.data(), text.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), length);
}

Result<void> add_dev_key(Config& config) {
    SBX_TRY(const std::string key, dev_key(config.state_dir));
    for (TenantConfig& tenant : config.tenants) {
        if (tenant.id.str() == "dev") tenant.key_hashes.push_back(attest::sha256_hex(key));
    }
    return {};
}

Result<std::unique_ptr<attest::Attestor>> make_attestor(asio::any_io_executor executor, const Config& config, manager::Manager& manager) {
    attest::SelfTestPlan plan;
    SBX_TRY(plan.program, find_program("sandbox-probe"));
    plan.secret_path = config.state_dir;
    plan.uid = manager.probe_id();
    plan.node = config.node;
    attest::AttestorConfig out;
    out.key_file = config.state_dir + "/attest.key";
    out.seccomp_sha256 = attest::sha256_hex(manager.filters().arguments + manager.filters().names);
    out.test = [&manager, plan](Deadline deadline) { return attest::run_self_test(manager, plan, deadline); };
    out.refuse_creates = [&manager](std::optional<Error> why) { manager.refuse_creates(std::move(why)); };
    out.accepted = config.unsafe_accept_broken_walls;
    // A limit that was given up has no wall.
    for (const std::string& name : config.unsafe_missing_controllers) {
        if (name == "memory") out.accepted.emplace_back("memory_limit");
        if (name == "pids") out.accepted.emplace_back("process_limit");
    }
    return attest::Attestor::make(std::move(executor), std::move(out));
}

// From the manager's start until the stop; what the manager holds is the caller's to end, also when this fails.
asio::awaitable<Result<void>> serve(asio::any_io_executor executor, const Config& config, manager::Manager& manager,
                                    StopRequest& stop) {
    SBX_CO_TRY(const ApiUser user, find_api_user(config, manager.api_fallback_id()));
    SBX_CO_CHECK(make_api_directory(config.state_dir, user));
    ApiLaunch launch;
    SBX_CO_TRY(launch.program, find_program("sandboxd-api"));
    launch.folder = config.state_dir + "/api";
    const Deadline bind_deadline = Deadline::after(kBindPatience);
    SBX_CO_TRY(const Listeners listeners, co_await open_listeners(config, user, bind_deadline));
    SBX_CO_TRY(const ApiFiles files, api_files(config));
    launch.user = user;
    launch.config = files.config.get();
    launch.tcp = listeners.tcp.get();
    launch.unix_socket = listeners.unix_socket.get();
    launch.tls_certificate = files.certificate.get();
    launch.tls_key = files.key.get();
    SBX_CO_TRY(const std::unique_ptr<attest::Attestor> attestor, make_attestor(executor, config, manager));
    manager.attest_with = [&attestor](control::AttestRequest request, Deadline deadline) { return attestor->attest(std::move(request), deadline); };
    Supervisor supervisor{executor, manager, std::move(launch)};
    supervisor.start();
    log::info("sandboxd runs", {{"listen", listeners.tcp_address}, {"socket", listeners.unix_path}, {"state_dir", config.state_dir}});
    notify_systemd("READY=1");
    attestor->start();

    while (!stop.asked) (void)co_await stop.event.wait(Deadline::never());
    log::info("draining", {{"timeout_s", config.drain_timeout_s}});
    notify_systemd("STOPPING=1");
    const std::chrono::seconds drain_timeout{config.drain_timeout_s};
    co_await supervisor.stop(drain_timeout);
    manager.attest_with = nullptr;
    co_await attestor->stop();
    if (!listeners.unix_path.empty()) (void)sys::unlinkat(AT_FDCWD, listeners.unix_path.c_str());
    co_return Result<void>{};
}

}  // namespace

asio::awaitable<Result<void>> run(asio::any_io_executor executor, Config config, StopRequest& stop) {
    SBX_CO_TRY(const Fd lock, open_state_directory(config.state_dir));
    if (config.dev) SBX_CO_CHECK(add_dev_key(config));
    SBX_CO_TRY(manager::ManagerConfig manager_setup, manager_config(config));
    SBX_CO_TRY(auto manager, co_await manager::Manager::start(executor, std::move(manager_setup)));
    auto served = co_await serve(executor, config, *manager, stop);
    const Deadline ending = Deadline::after(kStopTimeout);
    // A start that failed took no sandbox on and ends none: those of a predecessor go on, as after a crash.
    if (served && config.on_stop == OnStop::destroy) SBX_CO_CHECK(co_await manager->destroy_all(ending));
    auto stopped = co_await manager->stop(ending);
    if (!served) co_return std::move(served).error();
    SBX_CO_CHECK(std::move(stopped));
    log::info("stopped", {});
    co_return Result<void>{};
}

}  // namespace sandboxd::monitor
