#include "sandboxd/ctl/command_line.hpp"

#include <unistd.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "sandboxd/ctl/console.hpp"
#include "sandboxd/ctl/session.hpp"
#include "sandboxd/ctl/split_command.hpp"
#include "sandboxd/version.hpp"

namespace sandboxd::ctl {

namespace {

using nlohmann::json;

constexpr int kUsageError = 2;

std::optional<std::string> environment(const char* name) {
    const char* value = std::getenv(name);
    if (!value || !*value) return std::nullopt;
    return std::string{value};
}

void add_global_options(CLI::App& app, Session& session) {
    app.add_option("--url", session.wanted.url,
                   "the daemon's address: http://…, https://… or unix:///… (SANDBOXD_URL)")
        ->type_name("URL");
    app.add_option("--key", session.wanted.key,
                   "the API key (SANDBOXD_API_KEY, which other users of this machine can't see)")
        ->type_name("KEY");
    app.add_option("--state-dir", session.wanted.state_dir,
                   "the daemon's state directory, for its dev.key (default: /var/lib/sandboxd)")
        ->type_name("DIR");
    app.add_option("--ca-file", session.wanted.ca_file,
                   "PEM file of the authority to trust for https (SANDBOXD_CA_FILE)")
        ->type_name("FILE");
    app.add_flag("--json", session.json, "answer in JSON, errors (on standard error) too");
    session.wanted.env_url = environment("SANDBOXD_URL");
    session.wanted.env_key = environment("SANDBOXD_API_KEY");
    session.wanted.env_ca_file = environment("SANDBOXD_CA_FILE");
}

void add_version(CLI::App& app, Session& session) {
    CLI::App& verb = *app.add_subcommand("version", "Print the version of this program");
    verb.footer("Example: sandboxctl version");
    verb.callback([&session] {
        session.action = [&session]() -> Result<int> {
            if (session.json) {
                print_json({{"version", kVersionText}});
            } else {
                print("sandboxctl " + std::string{kVersionText} + '\n');
            }
            return 0;
        };
    });
}

void say(const Error& error, bool as_json) {
    if (as_json) {
        const std::string text =
            error_json(error).dump(2, ' ', false, json::error_handler_t::replace);
        (void)write_out(STDERR_FILENO, text + '\n');  // nowhere else to say it
        return;
    }
    note(error.message());
    // A quota or a limit: what was asked and what is allowed.
    std::string facts;
    for (const auto& [name, value] : error.facts()) {
        if (name != "limit" && name != "asked" && name != "allowed") continue;
        const auto* number = std::get_if<std::int64_t>(&value);
        facts +=
            ' ' + name + '=' + (number ? std::to_string(*number) : std::get<std::string>(value));
    }
    if (!facts.empty()) note(facts.substr(1));
}

int act(Session& session) {
    if (session.has_command && !session.takes_command) {
        note("only exec takes a command behind --");
        return kUsageError;
    }
    auto code = session.action();
    if (code) return *code;
    say(code.error(), session.json);
    return code.error().is(Errc::command_not_found) && session.failure_code == kOwnFailure
               ? kNoCommand
               : session.failure_code;
}

}  // namespace

int run_command_line(int argc, char** argv) {
    CLI::App app{"sandboxctl talks to sandboxd, which runs code in sandboxes on one machine."};
    Session session;
    app.name("sandboxctl");
    app.set_version_flag("--version", "sandboxctl " + std::string{kVersionText});
    app.require_subcommand(1);
    app.fallthrough();
    app.footer(
        "Without --url it talks to http://127.0.0.1:8090 with the key of `sandboxd --dev`.\n"
        "Example: sandboxctl run -l python -c 'print(6 * 7)'");
    add_global_options(app, session);
    add_run(app, session);
    add_sandboxes(app, session);
    add_usage(app, session);
    add_version(app, session);
    add_exec(app, session);
    add_logs(app, session);
    add_copy(app, session);
    add_admin(app, session);
    add_doctor(app, session);
    add_attest(app, session);
    add_completion(app, session);
    SplitLine line = split_command(app, {argv + 1, argv + argc});
    session.command = std::move(line.command);
    session.has_command = line.has_command;
    std::reverse(line.words.begin(), line.words.end());  // as CLI11 wants them
    try {
        app.parse(std::move(line.words));
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : kUsageError;
    }
    return act(session);
}

}  // namespace sandboxd::ctl
