// sandboxd: the root process (the monitor).
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdio>
#include <optional>

#include "isolation/launch_steps.hpp"
#include "sandboxd/config.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"
#include "sandboxd/monitor/monitor.hpp"
#include "sandboxd/version.hpp"

namespace {

using namespace sandboxd;

struct Options {
    bool dev = false;
    bool check = false;
    bool print_stages = false;
    std::string config;
    std::string listen;
    std::string state_dir;
    std::string log_level;
};

Result<Config> load(const Options& options) {
    if (options.dev == !options.config.empty()) {
        return Error{Errc::invalid_argument, "usage", "give --dev (embedded defaults) or --config FILE; see --help"};
    }
    Config config = dev_config();
    if (!options.dev) {
        SBX_TRY(const std::string text, sys::read_file(options.config));
        SBX_TRY(config, parse_config(text, options.config));
    }
    if (!options.listen.empty()) config.listen = options.listen;
    if (!options.state_dir.empty()) config.state_dir = options.state_dir;
    if (config.state_dir.empty() || config.state_dir[0] != '/') {
        return Error{Errc::invalid_argument, "state_dir", "expected an absolute path"};
    }
    while (config.state_dir.size() > 1 && config.state_dir.back() == '/') config.state_dir.pop_back();
    if (!options.log_level.empty() && !log::parse_level(options.log_level, config.log_level)) {
        return Error{Errc::invalid_argument, "log level", "expected debug, info, warn or error"};
    }
    return config;
}

int complain(const Error& error) {
    std::fprintf(stderr, "sandboxd: %s\n", error.message().c_str());
    return 1;
}

int run_daemon(Config config) {
    if (::geteuid() != 0) {
        return complain(Error{Errc::forbidden, "start", "sandboxd needs root: it makes namespaces, mounts and control groups (the HTTP side gives root up)"});
    }
    log::init("sandboxd", config.log_level);
    std::signal(SIGPIPE, SIG_IGN);
    // One descriptor per sandbox here, five in the API and two per exec: a soft limit of 1024 ends at 200 sandboxes.
    if (const auto raised = sys::raise_fd_limit(); !raised) log::warn("descriptor limit kept", {{"error", raised.error()}});
    asio::io_context context{1};
    monitor::StopRequest stop{context.get_executor()};
    asio::signal_set signals{context, SIGTERM, SIGINT};
    std::function<void()> await_signal = [&] {
        signals.async_wait([&](const boost::system::error_code& ec, int) {
            if (ec) return;
            stop.ask();
            await_signal();
        });
    };
    await_signal();
    std::optional<Result<void>> outcome;
    asio::co_spawn(context, monitor::run(context.get_executor(), std::move(config), stop),
                   [&](const std::exception_ptr& failure, Result<void> result) {
                       if (failure) std::rethrow_exception(failure);
                       outcome = std::move(result);
                       signals.cancel();
                   });
    context.run();
    if (!*outcome) {
        log::error("sandboxd failed", {{"error", outcome->error()}});
        return complain(outcome->error());
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) try {
    CLI::App app{"sandboxd runs model-written code in sandboxes on this machine. Start it with --dev to try it."};
    Options options;
    app.add_flag("--dev", options.dev, "embedded defaults: http://127.0.0.1:8090, tenant `dev`, its key in STATE_DIR/dev.key");
    app.add_option("--config", options.config, "TOML configuration (production)")->type_name("FILE");
    app.add_flag("--check-config", options.check, "validate the configuration and exit");
    app.add_flag("--print-stages", options.print_stages, "the steps of making a sandbox, each with its reason, and exit");
    app.add_option("--listen", options.listen, "address of the HTTP API")->type_name("ADDR:PORT");
    app.add_option("--state-dir", options.state_dir, "where state is kept (default /var/lib/sandboxd)")->type_name("DIR");
    app.add_option("--log-level", options.log_level, "debug, info, warn or error")->type_name("LEVEL");
    app.set_version_flag("--version", std::string{kVersionText});
    CLI11_PARSE(app, argc, argv);

    if (options.print_stages) {
        for (const auto& step : isolation::launch_steps()) std::printf("%-18s%s\n", step.name, step.why);
        return 0;
    }
    auto config = load(options);
    if (!config) return complain(config.error());
    if (options.check) {
        std::printf("configuration is valid\n");
        return 0;
    }
    return run_daemon(*std::move(config));
} catch (const std::exception& e) {
    std::fprintf(stderr, "sandboxd: %s\n", e.what());
    return 1;
}
