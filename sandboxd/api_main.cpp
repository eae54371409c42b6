// sandboxd-api: everything of the daemon that speaks to the network and to jails, without a right of its own. The
// monitor starts it with open descriptors; people don't.
#include <fcntl.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <array>
#include <csignal>
#include <cstdio>
#include <optional>
#include <set>

#include "api/server.hpp"
#include "policies/price_book.hpp"
#include "sandboxd/api_confinement.hpp"
#include "sandboxd/config.hpp"
#include "sandboxd/control/client.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"
#include "sandboxd/engine/engine.hpp"
#include "sandboxd/engine/keyring.hpp"
#include "sandboxd/programs.hpp"
#include "sandboxd/version.hpp"

namespace {

using namespace sandboxd;

constexpr auto kLockPatience = std::chrono::seconds{10};
constexpr auto kRequestsPatience = std::chrono::seconds{2};  // the monitor kills us five seconds after its SIGTERM
// Keys that the configuration file gives carry it; the API refuses labels that start with "@".
constexpr const char* kConfigLabel = "@config";

struct Options {
    std::string folder;
    uid_t uid = 0;
    gid_t gid = 0;
    int control = -1;
    int config = -1;
    int tcp = -1;
    int unix_socket = -1;
    int tls_certificate = -1;
    int tls_key = -1;
};

// The monitor's copies share the file position, so it is not moved.
Result<std::string> read_whole(int fd, const char* what) {
    SBX_TRY(const struct stat info, sys::fstat(fd));
    std::string text(static_cast<std::size_t>(info.st_size), '\0');
    const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
    if (size < 0) return errno_error("read", what);
    text.resize(static_cast<std::size_t>(size));
    return text;
}

// Of a predecessor that is still on its way out: two processes must not write one ledger.
asio::awaitable<Result<Fd>> lock_state(std::string folder) {
    SBX_CO_TRY(Fd lock, sys::open(folder + "/lock", O_RDWR | O_CREAT, 0600));
    const Deadline deadline = Deadline::after(kLockPatience);
    while (true) {
        SBX_CO_TRY(const bool locked, sys::try_lock(lock.get()));
        if (locked) co_return std::move(lock);
        if (deadline.passed()) co_return Error{Errc::conflict, "state", "another sandboxd-api uses " + folder};
        SBX_CO_CHECK(co_await sleep_until(Deadline::after(std::chrono::milliseconds{20})));
    }
}

// The tenants and keys of the configuration, as it says them now: keys that have left it end.
asio::awaitable<Result<void>> apply_tenants(engine::Engine& engine, const Config& config) {
    std::set<std::string> given;
    for (const TenantConfig& tenant : config.tenants) {
        ledger::TenantRecord record;
        record.id = tenant.id;
        record.limits = tenant.limits;
        SBX_CO_CHECK(co_await engine.put_tenant(std::move(record)));
        for (const std::string& hash : tenant.key_hashes) {
            SBX_CO_CHECK(co_await engine.ensure_key(tenant.id, "sha256:" + hash, kConfigLabel, tenant.admin));
            given.insert(hash);
        }
    }
    for (const ledger::KeyRecord& key : engine.keys()) {
        if (key.label != kConfigLabel || key.revoked || given.contains(engine::to_hex(key.hash))) continue;
        SBX_CO_CHECK(co_await engine.revoke_key(key.id));
    }
    co_return Result<void>{};
}

class Program {
public:
    Program(asio::io_context& context, Config config, Options options)
        : executor_{context.get_executor()}, config_{std::move(config)}, options_{std::move(options)}, changed_{executor_}, tasks_{executor_} {}

    asio::awaitable<Result<void>> run();
    void ask_to_stop() {
        stopping_ = true;
        changed_.notify();
    }

private:
    [[nodiscard]] asio::awaitable<Result<void>> serve(control::Client& monitor);
    [[nodiscard]] asio::awaitable<void> follow(control::Client& monitor);
    [[nodiscard]] asio::awaitable<void> drain(engine::Engine& engine, api::Server& server, control::Client& monitor, Deadline deadline);
    [[nodiscard]] Result<engine::EngineConfig> engine_config() const;
    [[nodiscard]] api::ServerConfig server_config() const;
    [[nodiscard]] Result<std::optional<api::TlsFiles>> tls() const;

    asio::any_io_executor executor_;
    Config config_;
    Options options_;
    bool stopping_ = false;
    bool monitor_gone_ = false;
    Event changed_;
    TaskGroup tasks_;
};

Result<engine::EngineConfig> Program::engine_config() const {
    engine::EngineConfig out;
    out.state_dir = options_.folder;
    out.node = config_.node;
    SBX_TRY(out.price_book, policies::parse_price_book(config_.price_book));
    const std::array<std::string, policies::kProfiles> profiles{std::string{embedded_seccomp_strict()}, config_.seccomp_profile,
                                                                std::string{embedded_seccomp_debug()}};
    for (std::size_t i = 0; i < profiles.size(); ++i) {
        SBX_TRY(out.profiles[i], policies::parse_seccomp_profile(profiles[i]));
    }
    return out;
}

api::ServerConfig Program::server_config() const {
    api::ServerConfig out;
    out.node = config_.node;
    out.root_tenant = config_.tenants.empty() ? TenantId{} : config_.tenants.front().id;
    out.request_bytes_max = config_.request_bytes_max;
    out.connections_max = config_.connections_max;
    return out;
}

Result<std::optional<api::TlsFiles>> Program::tls() const {
    if (options_.tls_certificate < 0) return std::optional<api::TlsFiles>{};
    api::TlsFiles files;
    SBX_TRY(files.certificate, read_whole(options_.tls_certificate, "TLS certificate"));
    SBX_TRY(files.key, read_whole(options_.tls_key, "TLS key"));
    return std::optional{std::move(files)};
}

asio::awaitable<void> Program::follow(control::Client& monitor) {
    co_await monitor.run();
    if (stopping_) co_return;  // this is our own end
    monitor_gone_ = true;
    ask_to_stop();
}

asio::awaitable<void> Program::drain(engine::Engine& engine, api::Server& server, control::Client& monitor, Deadline deadline) {
    engine.cordon(true);
    co_await server.settled(deadline);
    // Programs end with the daemon only where sandboxes do; else they go on and the next start takes them up.
    if (config_.on_stop == OnStop::destroy) co_await engine.drain(deadline);
    monitor.drained();
}

asio::awaitable<Result<void>> Program::serve(control::Client& monitor) {
    SBX_CO_TRY(engine::EngineConfig engine_setup, engine_config());
    SBX_CO_TRY(std::optional<api::TlsFiles> tls_files, tls());
    SBX_CO_TRY(const std::unique_ptr<engine::Engine> engine, co_await engine::Engine::start(executor_, std::move(engine_setup), monitor));
    auto applied = co_await apply_tenants(*engine, config_);
    if (applied) {
        api::Metrics metrics;
        api::Listening listening{Fd{options_.tcp}, Fd{options_.unix_socket}};
        auto server = api::Server::make(executor_, server_config(), api::all_routes(), *engine, metrics, std::move(listening), std::move(tls_files));
        if (server) {
            monitor.on_drain = [&](Deadline deadline) { tasks_.spawn("drain", drain(*engine, **server, monitor, deadline)); };
            (*server)->start();
            log::info("sandboxd-api serves", {{"sandboxes_max", config_.sandboxes_max}});
            while (!stopping_) (void)co_await changed_.wait(Deadline::never());
            monitor.on_drain = nullptr;
            co_await (*server)->stop(Deadline::after(kRequestsPatience));
            tasks_.cancel();  // a drain looks at the server and at the engine: it goes before them
            (void)co_await tasks_.join(Deadline::never());
        } else {
            applied = std::move(server).error();
        }
    }
    co_await engine->stop();
    co_return std::move(applied);
}

asio::awaitable<Result<void>> Program::run() {
    SBX_CO_TRY(const Fd lock, co_await lock_state(options_.folder));
    const std::unique_ptr<control::Client> monitor = control::Client::make(executor_, Fd{options_.control});
    TaskGroup following{executor_};
    following.spawn("monitor", follow(*monitor));
    auto served = co_await serve(*monitor);
    const bool hung_up = monitor_gone_;  // before our own end looks like it, and hides why serving ended
    following.cancel();
    (void)co_await following.join(Deadline::never());
    if (hung_up) co_return Error{Errc::unavailable, "monitor", "it has hung up"};
    co_return std::move(served);
}

int complain(const Error& error) {
    log::error("sandboxd-api failed", {{"error", error}});
    return 1;
}

Result<Config> read_config(int fd) {
    SBX_TRY(const std::string text, read_whole(fd, "configuration"));
    return parse_config(text, "configuration from the monitor");
}

int run_program(Options options) {
    auto folder = move_into_folder(options.folder);
    auto dropped = drop_privileges(options.uid, options.gid);
    auto config = read_config(options.config);
    log::init("sandboxd-api", config ? config->log_level : log::Level::info);
    if (!folder) return complain(folder.error());
    options.folder = *folder;
    if (!dropped) return complain(dropped.error());
    if (!config) return complain(config.error());
    if (options.tls_certificate >= 0) ::OPENSSL_init_ssl(0, nullptr);  // reads the system's configuration while it can
    // SIGINT comes from a terminal, to the whole group: stopping is the monitor's to order.
    for (const int signal : {SIGPIPE, SIGINT, SIGHUP}) std::signal(signal, SIG_IGN);
    auto confined = confine(options.folder);
    if (!confined) return complain(confined.error());

    asio::io_context context{1};
    Program program{context, *std::move(config), options};
    asio::signal_set signals{context, SIGTERM};
    signals.async_wait([&](const boost::system::error_code& error, int) {
        if (!error) program.ask_to_stop();
    });
    std::optional<Result<void>> outcome;
    asio::co_spawn(context, program.run(), [&](const std::exception_ptr& failure, Result<void> result) {
        if (failure) std::rethrow_exception(failure);
        outcome = std::move(result);
        signals.cancel();
    });
    context.run();
    return *outcome ? 0 : complain(outcome->error());
}

}  // namespace

int main(int argc, char** argv) try {
    CLI::App app{"The HTTP side of sandboxd. Started by sandboxd, not by hand."};
    Options options;
    app.set_version_flag("--version", std::string{kVersionText});
    app.add_option("--folder", options.folder)->required();
    app.add_option("--uid", options.uid)->required();
    app.add_option("--gid", options.gid)->required();
    app.add_option("--control", options.control)->required();
    app.add_option("--config", options.config)->required();
    app.add_option("--tcp", options.tcp);
    app.add_option("--unix", options.unix_socket);
    app.add_option("--tls-certificate", options.tls_certificate);
    app.add_option("--tls-key", options.tls_key);
    CLI11_PARSE(app, argc, argv);
    return run_program(std::move(options));
} catch (const std::exception& e) {
    std::fprintf(stderr, "sandboxd-api: %s\n", e.what());
    return 1;
}
