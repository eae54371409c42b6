#include <unistd.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "sandboxd/ctl/answer.hpp"
#include "sandboxd/ctl/console.hpp"
#include "sandboxd/ctl/exec_conversation.hpp"
#include "sandboxd/ctl/session.hpp"
#include "sandboxd/ctl/units.hpp"

namespace sandboxd::ctl {

namespace {

using nlohmann::json;

constexpr std::size_t kExecsMax = 100'000;

std::string exec_path(const std::string& id, const std::string& exec_id) {
    return sandbox_path(id, "exec/" + percent_encode(exec_id));
}

Result<json> execs_of(ApiClient& api, const std::string& id) {
    return api.list(sandbox_path(id, "exec?limit=100"), "execs", kExecsMax);
}

struct LogsOptions {
    std::string id;
    std::string exec_id;
    std::string stream = "both";
    std::uint64_t offset = 0;
    bool follow = false;
};

Result<void> copy_output(ApiClient& api, const LogsOptions& options, const std::string& stream) {
    Request request;
    request.path = exec_path(options.id, options.exec_id) + "/output?stream=" + stream;
    // Without an offset: from the oldest byte that is kept.
    if (options.offset > 0) request.path += "&offset=" + std::to_string(options.offset);
    const int to = stream == "stderr" ? STDERR_FILENO : STDOUT_FILENO;
    const auto copy = [&](std::string_view bytes) -> Result<void> {
        if (to == STDERR_FILENO) return write_out(to, bytes);
        print(std::string{bytes});
        return Result<void>{};
    };
    SBX_TRY(const Head head, api.stream(request, copy));
    const std::string dropped = head.header("X-Output-Dropped").value_or("0");
    if (dropped != "0")
        note(dropped + " bytes of " + stream + " were dropped: the output limit was reached");
    return Result<void>{};
}

Result<int> follow(const Session& session, const LogsOptions& options) {
    ConversationOptions conversation;
    conversation.sandbox = options.id;
    conversation.exec_id = options.exec_id;
    SBX_TRY(const Target target, resolve_target(session.wanted));
    SBX_TRY(const ConversationEnd end, converse(target, std::move(conversation)));
    return end.exit ? 0 : end.left_with;
}

Result<int> logs(const Session& session, LogsOptions options) {
    if (session.json)
        return Error{Errc::invalid_argument, "logs",
                     "output is bytes, not JSON: see `sandboxctl --json ps` for the states"};
    if (options.follow && (options.stream != "both" || options.offset > 0)) {
        return Error{Errc::invalid_argument, "logs",
                     "-f shows all of both streams: leave --stream and --offset out"};
    }
    SBX_TRY(ApiClient api, session.api());
    if (options.exec_id.empty()) {
        SBX_TRY(const json execs, execs_of(api, options.id));
        if (execs.empty()) return Error{Errc::not_found, options.id, "no program has run in it"};
        options.exec_id = text_of(execs.back(), "exec_id");
    }
    if (options.follow) return follow(session, options);
    for (const char* stream : {"stdout", "stderr"}) {
        if (options.stream == "both" || options.stream == stream)
            SBX_CHECK(copy_output(api, options, stream));
    }
    return 0;
}

Colour colour_of(const std::string& status, int exit_code) {
    if (status == "running") return Colour::green;
    return exit_code == 0 && status == "exited" ? Colour::dim : Colour::red;
}

Result<int> list_execs(const Session& session, const std::string& id) {
    SBX_TRY(ApiClient api, session.api());
    SBX_TRY(const json execs, execs_of(api, id));
    if (session.json) {
        print_json({{"execs", execs}});
        return 0;
    }
    Table table{{{"EXEC"},
                 {"STATUS"},
                 {"EXIT", Align::right},
                 {"AGE"},
                 {"CPU TIME", Align::right},
                 {"PEAK", Align::right},
                 {"COST", Align::right},
                 {"COMMAND"}}};
    const WallTime now = system_clock().wall();
    for (const json& entry : execs) {
        const std::string status = text_of(entry, "status");
        const bool running = status == "running";
        const int code = running ? 0 : exit_code_of(entry);
        const json usage = entry.value("usage", json::object());
        table.add({{text_of(entry, "exec_id")},
                   {status, colour_of(status, code)},
                   {running ? "-" : std::to_string(code)},
                   {format_age(text_of(entry, "started_at"), now)},
                   {format_ms(number_of(usage, "cpu_ms"))},
                   {format_bytes(number_of(usage, "memory_peak_bytes"))},
                   {describe_cost(usage)},
                   {text_of(entry, "command")}});
    }
    print(table.text(palette_of(STDOUT_FILENO)));
    return 0;
}

struct KillOptions {
    std::string id;
    std::string exec_id;
    std::string signal;
    std::string scope;
};

Result<int> kill(const Session& session, const KillOptions& options) {
    Request request;
    request.method = "DELETE";
    request.path = exec_path(options.id, options.exec_id);
    std::string query;
    if (!options.signal.empty()) query += "&signal=" + percent_encode(options.signal);
    if (!options.scope.empty()) query += "&scope=" + percent_encode(options.scope);
    if (!query.empty()) request.path += '?' + query.substr(1);
    SBX_TRY(ApiClient api, session.api());
    SBX_TRY(const json answer, api.call(request));
    if (session.json) {
        print_json(answer);
    } else {
        const std::string status = text_of(answer, "status");
        print(options.exec_id + (status.empty() ? "" : ' ' + status) + '\n');
    }
    return 0;
}

void add_kill(CLI::App& app, Session& session) {
    CLI::App& verb = *app.add_subcommand("kill", "End a program in a sandbox, or send it a signal");
    auto options = std::make_shared<KillOptions>();
    verb.add_option("id", options->id, "the sandbox")->type_name("ID")->required();
    verb.add_option("exec", options->exec_id, "the program, as ps shows it")
        ->type_name("EXEC")
        ->required();
    verb.add_option("-s,--signal", options->signal,
                    "INT, USR1, KILL, … or a number (default: TERM, after 2 s KILL)")
        ->type_name("SIGNAL");
    verb.add_option("--scope", options->scope,
                    "who gets it: the process, its group, or the whole tree")
        ->type_name("WHO")
        ->check(CLI::IsMember({"process", "group", "tree"}));
    verb.footer("Example: sandboxctl kill -s INT ID EXEC");
    verb.callback([options, &session] {
        session.action = [options, &session] { return kill(session, *options); };
    });
}

}  // namespace

void add_logs(CLI::App& app, Session& session) {
    CLI::App& list = *app.add_subcommand("ps", "List the programs of a sandbox");
    auto id = std::make_shared<std::string>();
    list.add_option("id", *id, "the sandbox")->type_name("ID")->required();
    list.footer("Example: sandboxctl ps ID");
    list.callback(
        [id, &session] { session.action = [id, &session] { return list_execs(session, *id); }; });

    CLI::App& verb = *app.add_subcommand("logs", "Print what a program wrote");
    auto options = std::make_shared<LogsOptions>();
    verb.add_option("id", options->id, "the sandbox")->type_name("ID")->required();
    verb.add_option("exec", options->exec_id, "the program, as ps shows it (default: the last one)")
        ->type_name("EXEC");
    verb.add_flag("-f,--follow", options->follow,
                  "go on while it runs, also over a restart of the daemon");
    verb.add_option("--stream", options->stream, "stdout, stderr or both (default: both)")
        ->type_name("WHICH")
        ->check(CLI::IsMember({"stdout", "stderr", "both"}));
    verb.add_option("--offset", options->offset, "from this byte on")->type_name("N");
    verb.footer(
        "What it wrote to its standard error comes on standard error.\n\nExample: sandboxctl logs "
        "-f ID");
    verb.callback([options, &session] {
        session.action = [options, &session] { return logs(session, *options); };
    });
    add_kill(app, session);
}

}  // namespace sandboxd::ctl
