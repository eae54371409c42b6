#include <unistd.h>
#include <CLI/CLI.hpp>
#include <array>
#include <nlohmann/json.hpp>

#include "sandboxd/core/utf8.hpp"
#include "sandboxd/ctl/answer.hpp"
#include "sandboxd/ctl/base64.hpp"
#include "sandboxd/ctl/console.hpp"
#include "sandboxd/ctl/event_stream.hpp"
#include "sandboxd/ctl/limits_options.hpp"
#include "sandboxd/ctl/local_files.hpp"
#include "sandboxd/ctl/session.hpp"
#include "sandboxd/ctl/units.hpp"

namespace sandboxd::ctl {

namespace {

using nlohmann::json;

constexpr std::size_t kInputMax = std::size_t{24} << 20;  // the daemon takes bodies of 32 MiB

struct RunOptions {
    std::string language;
    std::optional<std::string> code;
    std::string file;
    std::vector<std::string> files;
    std::string input;
    std::string timeout;
    bool cost = false;
    bool events = false;
    SandboxOptions sandbox;
};

Result<std::string> language_of(const RunOptions& options) {
    if (!options.language.empty()) {
        constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kShort{
            {{"py", "python"},
             {"python3", "python"},
             {"sh", "bash"},
             {"js", "javascript"},
             {"node", "javascript"}}};
        for (const auto& [name, full] : kShort) {
            if (options.language == name) return std::string{full};
        }
        return options.language;  // the daemon knows which there are
    }
    if (options.file.empty() || options.file == "-") return std::string{"python"};
    constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kEndings{
        {{".py", "python"},
         {".sh", "bash"},
         {".bash", "bash"},
         {".js", "javascript"},
         {".mjs", "javascript"},
         {".sql", "sql"}}};
    for (const auto& [ending, language] : kEndings) {
        if (options.file.ends_with(ending)) return std::string{language};
    }
    return Error{Errc::invalid_argument, options.file,
                 "can't tell its language by its name: give -l python, bash, …"};
}

json content(std::string bytes) {
    if (utf8::is_valid(bytes)) return bytes;
    return {{"base64", to_base64(bytes)}};
}

Result<std::string> code_of(const RunOptions& options) {
    if (options.code && !options.file.empty())
        return Error{Errc::invalid_argument, "run", "give a file or -c CODE, not both"};
    if (options.code) return *options.code;
    if (options.file.empty() && is_terminal(STDIN_FILENO)) {
        return Error{Errc::invalid_argument, "run",
                     "nothing to run: give a file, -c CODE, or code on standard input"};
    }
    if (options.input == "-" && (options.file.empty() || options.file == "-")) {
        return Error{Errc::invalid_argument, "run",
                     "standard input can't be the code and the program's input at once"};
    }
    SBX_TRY(std::string code, read_input(options.file.empty() ? "-" : options.file, kInputMax));
    if (!utf8::is_valid(code))
        return Error{Errc::invalid_argument, options.file, "is not UTF-8 text"};
    return code;
}

Result<json> body_of(const RunOptions& options) {
    json body;
    SBX_TRY(body["language"], language_of(options));
    SBX_TRY(body["code"], code_of(options));
    for (const std::string& entry : options.files) {
        // NAME=PATH, or PATH for a file that keeps its name.
        const std::size_t at = entry.find('=');
        const std::string path = at == std::string::npos ? entry : entry.substr(at + 1);
        const std::string name =
            at == std::string::npos ? entry.substr(entry.rfind('/') + 1) : entry.substr(0, at);
        if (name.empty() || path.empty())
            return Error{Errc::invalid_argument, "--file " + entry, "expected NAME=PATH or PATH"};
        SBX_TRY(std::string bytes, read_input(path, kInputMax));
        body["files"][name] = content(std::move(bytes));
    }
    if (!options.input.empty()) {
        SBX_TRY(std::string bytes, read_input(options.input, kInputMax));
        body["stdin"] = content(std::move(bytes));
    }
    if (!options.timeout.empty()) {
        SBX_TRY(body["timeout_ms"], parse_milliseconds(options.timeout));
    }
    SBX_CHECK(apply(options.sandbox, body));
    return body;
}

Result<int> run(const Session& session, const RunOptions& options) {
    SBX_TRY(json body, body_of(options));
    SBX_TRY(ApiClient api, session.api());
    Request request;
    request.method = "POST";
    request.path = "/v1/run";
    request.patience = {};  // the program's own time limit ends it
    const bool document = session.json && !options.events;
    if (!session.json) body["encoding"] = "base64";
    request.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
    if (document) {
        SBX_TRY(const json answer, api.call(request));
        print_json(answer);
        return exit_code_of(answer);
    }
    return play_events(api, std::move(request), session.json ? Show::events : Show::output,
                       options.cost ? Cost::show : Cost::hide);
}

}  // namespace

void add_run(CLI::App& app, Session& session) {
    CLI::App& verb =
        *app.add_subcommand("run", "Run code in a fresh sandbox that is destroyed afterwards");
    auto options = std::make_shared<RunOptions>();
    verb.add_option("file", options->file, "the code; - or nothing reads it from standard input")
        ->type_name("FILE");
    verb.add_option("-l,--language", options->language,
                    "python, bash, javascript, sql (default: by the file's name, else python)")
        ->type_name("LANG");
    verb.add_option("-c,--code", options->code, "the code itself")->type_name("CODE");
    verb.add_option("-f,--file", options->files,
                    "a file to put beside the code; can be given again")
        ->type_name("[NAME=]PATH")
        ->allow_extra_args(false);
    verb.add_option("--stdin", options->input,
                    "what the program reads on its standard input; - passes on this program's")
        ->type_name("FILE");
    verb.add_option(
            "--timeout", options->timeout,
            "the most time it may take, such as 10s or 5m; 0: the tenant's ceiling (default: 60s)")
        ->type_name("TIME");
    verb.add_flag("--cost", options->cost,
                  "print at the end what it used and cost, on standard error");
    verb.add_flag("--events", options->events,
                  "with --json: one event per line while it runs, not one document at its end");
    add_sandbox_options(verb, options->sandbox);
    verb.footer(
        "Output comes as the program writes it; the exit code is the program's own (125: it was "
        "not run).\n\n"
        "Example: sandboxctl run -l python -c 'print(6 * 7)' --cost");
    verb.callback([options, &session] {
        session.failure_code = kOwnFailure;
        session.action = [options, &session] { return run(session, *options); };
    });
}

}  // namespace sandboxd::ctl
