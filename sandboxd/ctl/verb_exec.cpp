#include <unistd.h>
#include <CLI/CLI.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "sandboxd/core/utf8.hpp"
#include "sandboxd/ctl/answer.hpp"
#include "sandboxd/ctl/base64.hpp"
#include "sandboxd/ctl/console.hpp"
#include "sandboxd/ctl/event_stream.hpp"
#include "sandboxd/ctl/exec_conversation.hpp"
#include "sandboxd/ctl/limits_options.hpp"
#include "sandboxd/ctl/local_files.hpp"
#include "sandboxd/ctl/session.hpp"
#include "sandboxd/ctl/terminal.hpp"
#include "sandboxd/ctl/units.hpp"

namespace sandboxd::ctl {

namespace {

using nlohmann::json;

constexpr std::size_t kInputMax = std::size_t{24} << 20;  // the daemon takes bodies of 32 MiB

struct ExecOptions {
    std::string id;
    std::string shell;
    std::string cwd;
    std::string user;
    std::string timeout;
    std::string input;
    std::vector<std::string> env;
    bool interactive = false;
    bool tty = false;
    bool detach = false;
    bool no_input = false;
    bool kill_on_disconnect = false;
    bool cost = false;
    bool events = false;
};

Result<json> body_of(const Session& session, const ExecOptions& options) {
    json body = json::object();
    if (!options.shell.empty() && !session.command.empty())
        return Error{Errc::invalid_argument, "exec", "give a command or --shell, not both"};
    if (options.shell.empty() && session.command.empty()) {
        return Error{Errc::invalid_argument, "exec",
                     "no command: sandboxctl exec ID -- PROGRAM ARGUMENTS…"};
    }
    if (options.shell.empty()) body["argv"] = session.command;
    if (!options.shell.empty()) body["shell"] = options.shell;
    if (!options.cwd.empty()) body["cwd"] = options.cwd;
    if (!options.user.empty()) body["user"] = options.user;
    if (!options.env.empty()) {
        SBX_TRY(body["env"], parse_env(options.env));
    }
    if (!options.timeout.empty()) {
        SBX_TRY(body["timeout_ms"], parse_milliseconds(options.timeout));
    }
    if (!options.input.empty()) {
        SBX_TRY(std::string bytes, read_input(options.input, kInputMax));
        body["stdin"] = utf8::is_valid(bytes) ? json(bytes) : json{{"base64", to_base64(bytes)}};
    }
    return body;
}

Result<void> check(const Session& session, const ExecOptions& options) {
    const auto refuse = [](std::string why) {
        return Error{Errc::invalid_argument, "exec", std::move(why)};
    };
    if (options.tty && !is_terminal(STDIN_FILENO))
        return refuse("-t needs a terminal, and standard input is none: leave -t out");
    if (options.tty && (options.detach || session.json))
        return refuse("-t goes with neither -d nor --json");
    if (options.interactive && (options.detach || session.json))
        return refuse("-i goes with neither -d nor --json: give --stdin FILE");
    if (options.events && !session.json) return refuse("--events goes with --json");
    return Result<void>{};
}

Request post_of(const ExecOptions& options, const json& body) {
    Request request;
    request.method = "POST";
    request.path = sandbox_path(options.id, "exec");
    request.patience = {};  // the program's own time limit ends it
    request.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
    return request;
}

Result<int> detach(const Session& session, const ExecOptions& options, json body) {
    body["detach"] = true;
    SBX_TRY(ApiClient api, session.api());
    SBX_TRY(const json answer, api.call(post_of(options, body)));
    if (session.json) {
        print_json(answer);
    } else {
        print(text_of(answer, "exec_id") + '\n');
    }
    return 0;
}

Result<int> answer_in_json(const Session& session, const ExecOptions& options, const json& body) {
    SBX_TRY(ApiClient api, session.api());
    if (options.events) return play_events(api, post_of(options, body), Show::events, Cost::hide);
    SBX_TRY(const json answer, api.call(post_of(options, body)));
    print_json(answer);
    return exit_code_of(answer);
}

void add_terminal(json& start) {
    const WindowSize size = window_size(STDIN_FILENO);
    start["pty"] = true;
    start["rows"] = size.rows;
    start["cols"] = size.cols;
    if (!start.contains("timeout_ms"))
        start["timeout_ms"] = 0;  // people think longer than a minute
    const char* kind = std::getenv("TERM");
    if (kind && *kind && !(start.contains("env") && start["env"].contains("TERM")))
        start["env"]["TERM"] = kind;
}

// A pipe or a file is meant for the program; a terminal only when it was asked for.
Input input_of(const ExecOptions& options) {
    if (options.no_input || !options.input.empty()) return Input::none;
    return options.interactive || options.tty || !is_terminal(STDIN_FILENO) ? Input::forward
                                                                            : Input::none;
}

Result<int> finish(ConversationEnd end, Cost cost) {
    if (!end.exit) return end.left_with;
    report_end(*end.exit, cost);
    return exit_code_of(*end.exit);
}

Result<int> exec(const Session& session, const ExecOptions& options) {
    SBX_CHECK(check(session, options));
    SBX_TRY(json body, body_of(session, options));
    if (options.detach) return detach(session, options, std::move(body));
    if (session.json) return answer_in_json(session, options, body);
    body["type"] = "start";
    body["encoding"] = "binary";
    if (options.tty) add_terminal(body);
    if (options.kill_on_disconnect) body["kill_on_disconnect"] = true;
    SBX_TRY(const Target target, resolve_target(session.wanted));
    ConversationOptions conversation;
    conversation.sandbox = options.id;
    conversation.start = body.dump(-1, ' ', false, json::error_handler_t::replace);
    conversation.input = input_of(options);
    conversation.signals = Signals::forward;
    conversation.tty = options.tty ? Tty::when_pty : Tty::no;
    if (options.kill_on_disconnect) conversation.when_lost = WhenLost::fail;
    SBX_TRY(ConversationEnd end, converse(target, std::move(conversation)));
    return finish(std::move(end), options.cost ? Cost::show : Cost::hide);
}

Result<int> attach(const Session& session, const std::string& id, const std::string& exec_id) {
    SBX_TRY(const Target target, resolve_target(session.wanted));
    ConversationOptions conversation;
    conversation.sandbox = id;
    conversation.exec_id = exec_id;
    conversation.input = Input::forward;
    conversation.signals = Signals::forward;
    conversation.tty = Tty::when_pty;
    SBX_TRY(ConversationEnd end, converse(target, std::move(conversation)));
    return finish(std::move(end), Cost::hide);
}

void add_attach(CLI::App& app, Session& session) {
    CLI::App& verb = *app.add_subcommand(
        "attach", "Go on with a program that runs: its output, standard input and signals");
    auto id = std::make_shared<std::string>();
    auto exec_id = std::make_shared<std::string>();
    verb.add_option("id", *id, "the sandbox")->type_name("ID")->required();
    verb.add_option("exec", *exec_id, "the program, as ps shows it")->type_name("EXEC")->required();
    verb.footer(
        "Its output is shown from its beginning. To look only: sandboxctl logs -f.\n\nExample: "
        "sandboxctl attach ID EXEC");
    verb.callback([id, exec_id, &session] {
        session.failure_code = kOwnFailure;
        session.action = [id, exec_id, &session] { return attach(session, *id, *exec_id); };
    });
}

}  // namespace

void add_exec(CLI::App& app, Session& session) {
    CLI::App& verb = *app.add_subcommand("exec", "Run a program in a sandbox");
    auto options = std::make_shared<ExecOptions>();
    verb.add_option("id", options->id, "the sandbox")->type_name("ID")->required();
    verb.add_flag("-i,--interactive", options->interactive,
                  "pass on what is typed (a pipe or a file is passed on without it)");
    verb.add_flag("-t,--tty", options->tty, "give the program this terminal");
    verb.add_flag("-d,--detach", options->detach, "start it, print its exec id and leave");
    verb.add_flag("-n,--no-stdin", options->no_input,
                  "pass nothing on: leave standard input to the loop that calls this");
    verb.add_option("--stdin", options->input, "a file for its standard input")->type_name("FILE");
    verb.add_option("-s,--shell", options->shell, "a command line for bash, in place of a program")
        ->type_name("LINE");
    verb.add_option("-w,--workdir", options->cwd,
                    "its working directory (default: the home directory)")
        ->type_name("DIR");
    verb.add_option("-u,--user", options->user, "user, root, UID or UID:GID (default: user)")
        ->type_name("USER");
    verb.add_option("-e,--env", options->env,
                    "an environment variable; NAME alone takes its value from here")
        ->type_name("NAME[=VALUE]")
        ->allow_extra_args(false);
    verb.add_option(
            "--timeout", options->timeout,
            "the most time it may take; 0: the tenant's ceiling (default: 60s; 0 with -t or -d)")
        ->type_name("TIME");
    verb.add_flag("--kill-on-disconnect", options->kill_on_disconnect,
                  "end the program when the connection is lost");
    verb.add_flag("--cost", options->cost,
                  "print at the end what it used and cost, on standard error");
    verb.add_flag("--events", options->events,
                  "with --json: one event per line while it runs, not one document at its end");
    verb.footer(
        "Output comes as the program writes it; the exit code is the program's own (125: it was "
        "not run, 127: there is no\n"
        "such program, 128 + N: signal N ended it). Ctrl-C is passed on; a third one kills.\n\n"
        "Example: sandboxctl exec -it ID -- bash\n"
        "         tar c src | sandboxctl exec ID -- tar x");
    verb.callback([options, &session] {
        session.failure_code = kOwnFailure;
        session.takes_command = true;
        session.action = [options, &session] { return exec(session, *options); };
    });
    add_attach(app, session);
}

}  // namespace sandboxd::ctl
