#include <unistd.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "sandboxd/ctl/answer.hpp"
#include "sandboxd/ctl/console.hpp"
#include "sandboxd/ctl/limits_options.hpp"
#include "sandboxd/ctl/session.hpp"
#include "sandboxd/ctl/units.hpp"

namespace sandboxd::ctl {

namespace {

using nlohmann::json;

struct CreateOptions {
    std::vector<std::string> metadata;
    std::string timeout;
    std::string on_timeout;
    SandboxOptions sandbox;
};

Result<int> create(const Session& session, const CreateOptions& options) {
    json body = json::object();
    SBX_CHECK(apply(options.sandbox, body));
    for (const std::string& entry : options.metadata) {
        SBX_TRY(const NameValue pair, parse_pair(entry, "--metadata"));
        body["metadata"][pair.name] = pair.value;
    }
    if (!options.timeout.empty()) {
        SBX_TRY(body["timeout_s"], parse_seconds(options.timeout));
    }
    if (!options.on_timeout.empty()) body["on_timeout"] = options.on_timeout;
    SBX_TRY(ApiClient api, session.api());
    SBX_TRY(const json sandbox, api.post("/v1/sandboxes", body));
    if (session.json) {
        print_json(sandbox);
    } else {
        print(text_of(sandbox, "id") + '\n');
    }
    return 0;
}

struct ListOptions {
    std::vector<std::string> metadata;
    std::string state;
    std::size_t most = 100'000;
    bool quiet = false;
};

Colour colour_of(std::string_view state) {
    if (state == "running") return Colour::green;
    if (state == "paused") return Colour::yellow;
    return Colour::dim;
}

Table sandbox_table(const json& sandboxes) {
    Table table{{{"ID"},
                 {"STATE"},
                 {"TEMPLATE"},
                 {"AGE"},
                 {"EXPIRES"},
                 {"CPUS", Align::right},
                 {"MEMORY", Align::right},
                 {"CPU TIME", Align::right},
                 {"PEAK", Align::right},
                 {"COST", Align::right}}};
    const WallTime now = system_clock().wall();
    for (const json& sandbox : sandboxes) {
        const json limits = sandbox.value("limits", json::object());
        const json usage = sandbox.value("usage", json::object());
        const std::string state = text_of(sandbox, "state");
        const std::string expires = text_of(sandbox, "expires_at");
        table.add({{text_of(sandbox, "id")},
                   {state, colour_of(state)},
                   {text_of(sandbox, "template")},
                   {format_age(text_of(sandbox, "created_at"), now)},
                   {expires.empty() ? "-" : "in " + format_age(expires, now)},
                   {limits.contains("cpus") ? limits["cpus"].dump() : "-"},
                   {format_bytes(number_of(limits, "memory_mb") << 20)},
                   {format_ms(number_of(usage, "cpu_ms"))},
                   {format_bytes(number_of(usage, "memory_peak_bytes"))},
                   {describe_cost(usage)}});
    }
    return table;
}

Result<int> list(const Session& session, const ListOptions& options) {
    std::string path = "/v1/sandboxes?limit=100";
    if (!options.state.empty()) path += "&state=" + percent_encode(options.state);
    for (const std::string& entry : options.metadata) {
        SBX_TRY(const NameValue pair, parse_pair(entry, "--metadata"));
        path += "&metadata." + percent_encode(pair.name) + '=' + percent_encode(pair.value);
    }
    SBX_TRY(ApiClient api, session.api());
    SBX_TRY(const json sandboxes, api.list(path, "sandboxes", options.most));
    if (session.json) {
        print_json({{"sandboxes", sandboxes}});
        return 0;
    }
    if (options.quiet) {
        for (const json& sandbox : sandboxes) print(text_of(sandbox, "id") + '\n');
        return 0;
    }
    if (sandboxes.empty() && is_terminal(STDOUT_FILENO))
        note("no sandboxes: make one with `sandboxctl create`");
    if (!sandboxes.empty() || !is_terminal(STDOUT_FILENO))
        print(sandbox_table(sandboxes).text(palette_of(STDOUT_FILENO)));
    return 0;
}

// One request for each id. All are tried; the exit code says whether one failed.
template <class Each>
Result<int> for_each(const Session& session, const std::vector<std::string>& ids, Each each) {
    SBX_TRY(ApiClient api, session.api());
    json answers = json::array();
    int code = 0;
    for (const std::string& id : ids) {
        Result<json> answer = each(api, id);
        if (answer) {
            answers.push_back(*std::move(answer));
            if (!session.json) print(id + '\n');
            continue;
        }
        if (ids.size() == 1) return std::move(answer).error();
        code = 1;
        note(id + ": " + answer.error().message());
        json refusal = error_json(answer.error());
        refusal["id"] = id;
        answers.push_back(std::move(refusal));
    }
    if (session.json) print_json(ids.size() == 1 ? answers[0] : json{{"sandboxes", answers}});
    return code;
}

CLI::App& add_ids_verb(CLI::App& app, Session& session, const std::string& name,
                       const std::string& purpose,
                       std::function<Result<json>(ApiClient&, const std::string&)> each) {
    CLI::App& verb = *app.add_subcommand(name, purpose);
    auto ids = std::make_shared<std::vector<std::string>>();
    verb.add_option("id", *ids, "the sandboxes")->type_name("ID")->required();
    verb.callback([ids, &session, each = std::move(each)] {
        session.action = [ids, &session, each] { return for_each(session, *ids, each); };
    });
    verb.footer("Example: sandboxctl " + name + " ID");
    return verb;
}

void add_create(CLI::App& app, Session& session) {
    CLI::App& verb = *app.add_subcommand("create", "Create a sandbox and print its id");
    auto options = std::make_shared<CreateOptions>();
    verb.add_option("--metadata", options->metadata, "a label, for ls; can be given again")
        ->type_name("NAME=VALUE")
        ->allow_extra_args(false);
    verb.add_option("--timeout", options->timeout,
                    "how long it lives after its last use, such as 10m (default: 300s)")
        ->type_name("TIME");
    verb.add_option("--on-timeout", options->on_timeout,
                    "what happens then: kill or pause (default: kill)")
        ->type_name("WHAT")
        ->check(CLI::IsMember({"kill", "pause"}));
    add_sandbox_options(verb, options->sandbox);
    verb.footer(
        "Example: id=$(sandboxctl create --memory 1g --timeout 1h) && sandboxctl exec -it $id -- "
        "bash");
    verb.callback([options, &session] {
        session.action = [options, &session] { return create(session, *options); };
    });
}

void add_list(CLI::App& app, Session& session) {
    CLI::App& verb = *app.add_subcommand("ls", "List sandboxes");
    auto options = std::make_shared<ListOptions>();
    verb.add_option("--metadata", options->metadata,
                    "only those with this label; can be given again")
        ->type_name("NAME=VALUE")
        ->allow_extra_args(false);
    verb.add_option("--state", options->state, "only those in this state: running, paused, ending")
        ->type_name("STATE");
    verb.add_option("--limit", options->most, "at most so many")->type_name("N");
    verb.add_flag("-q,--quiet", options->quiet, "only the ids");
    verb.footer("Example: sandboxctl ls --metadata job=42");
    verb.callback([options, &session] {
        session.action = [options, &session] { return list(session, *options); };
    });
}

// POST …/ID/WHAT with a body that the options fill.
std::function<Result<json>(ApiClient&, const std::string&)> post_to(std::string what) {
    return [what = std::move(what)](ApiClient& api, const std::string& id) {
        return api.post(sandbox_path(id, what), json::object());
    };
}

void add_fork(CLI::App& app, Session& session) {
    CLI::App& verb =
        *app.add_subcommand("fork", "Make copies of a running sandbox and print their ids");
    auto id = std::make_shared<std::string>();
    auto count = std::make_shared<unsigned>(1);
    verb.add_option("id", *id, "the sandbox")->type_name("ID")->required();
    verb.add_option("-n,--count", *count, "how many copies")->type_name("N");
    verb.footer("Example: sandboxctl fork -n 3 ID");
    verb.callback([id, count, &session] {
        session.action = [id, count, &session]() -> Result<int> {
            SBX_TRY(ApiClient api, session.api());
            json body = json::object();
            if (*count != 1) body["count"] = *count;
            SBX_TRY(const json answer, api.post(sandbox_path(*id, "fork"), body));
            if (session.json) {
                print_json(answer);
                return 0;
            }
            for (const json& copy : answer.value("sandboxes", json::array()))
                print(text_of(copy, "id") + '\n');
            return 0;
        };
    });
}

void add_template(CLI::App& app, Session& session) {
    CLI::App& verb = *app.add_subcommand("template", "What sandboxes can be made from");
    verb.require_subcommand(1);
    CLI::App& list = *verb.add_subcommand("ls", "List templates");
    list.footer("Example: sandboxctl template ls");
    list.callback([&session] {
        session.action = [&session]() -> Result<int> {
            SBX_TRY(ApiClient api, session.api());
            SBX_TRY(const json templates, api.list("/v1/templates", "templates", 100'000));
            if (session.json) {
                print_json({{"templates", templates}});
                return 0;
            }
            Table table{{{"NAME"}, {"SIZE", Align::right}, {"CREATED"}, {"DESCRIPTION"}}};
            for (const json& entry : templates) {
                const std::string name =
                    entry.is_string() ? entry.get<std::string>() : text_of(entry, "name");
                const auto size = number_of(entry, "size_bytes");
                table.add({{name.empty() ? text_of(entry, "id") : name},
                           {size > 0 ? format_bytes(size) : "-"},
                           {text_of(entry, "created_at")},
                           {text_of(entry, "description")}});
            }
            print(table.text(palette_of(STDOUT_FILENO)));
            return 0;
        };
    });
}

}  // namespace

void add_sandboxes(CLI::App& app, Session& session) {
    add_create(app, session);
    add_list(app, session);
    add_ids_verb(app, session, "rm", "Destroy sandboxes",
                 [](ApiClient& api, const std::string& id) -> Result<json> {
                     SBX_CHECK(api.remove(sandbox_path(id)));
                     return json{{"id", id}};
                 });
    add_ids_verb(app, session, "pause", "Freeze sandboxes: they keep their memory and use no CPU",
                 post_to("pause"));
    add_ids_verb(app, session, "resume", "Let paused sandboxes go on", post_to("resume"));
    add_ids_verb(app, session, "snapshot", "Keep the state of sandboxes, to make others from it",
                 post_to("snapshot"));
    add_fork(app, session);
    add_template(app, session);
}

}  // namespace sandboxd::ctl
