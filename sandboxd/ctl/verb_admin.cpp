#include <unistd.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "sandboxd/ctl/answer.hpp"
#include "sandboxd/ctl/console.hpp"
#include "sandboxd/ctl/session.hpp"
#include "sandboxd/ctl/units.hpp"

namespace sandboxd::ctl {

namespace {

using nlohmann::json;

constexpr std::size_t kEntriesMax = 100'000;

struct KeyOptions {
    std::string tenant = "dev";
    std::string label;
    bool admin = false;
};

// The secret is in the answer once and nowhere else.
Result<int> create_key(const Session& session, const KeyOptions& options) {
    json body = {{"tenant", options.tenant}};
    if (!options.label.empty()) body["label"] = options.label;
    if (options.admin) body["admin"] = true;
    SBX_TRY(ApiClient api, session.api());
    SBX_TRY(const json answer, api.post("/v1/admin/keys", body));
    if (session.json) {
        print_json(answer);
        return 0;
    }
    std::string secret;
    for (const char* name : {"secret", "key", "api_key"}) {
        if (secret.empty()) secret = text_of(answer, name);
    }
    print(secret + '\n');
    note("this is the only time that the key is shown; its id is " + text_of(answer, "id"));
    return 0;
}

Result<int> list_keys(const Session& session) {
    SBX_TRY(ApiClient api, session.api());
    SBX_TRY(const json keys, api.list("/v1/admin/keys", "keys", kEntriesMax));
    if (session.json) {
        print_json({{"keys", keys}});
        return 0;
    }
    Table table{{{"ID"}, {"TENANT"}, {"LABEL"}, {"ADMIN"}, {"AGE"}, {"STATE"}}};
    const WallTime now = system_clock().wall();
    for (const json& key : keys) {
        table.add({{text_of(key, "id")},
                   {text_of(key, "tenant")},
                   {text_of(key, "label")},
                   {key.contains("admin") && key["admin"] == true ? "yes" : "-"},
                   {format_age(text_of(key, "created_at"), now)},
                   {text_of(key, "revoked_at").empty() ? "valid" : "revoked"}});
    }
    print(table.text(palette_of(STDOUT_FILENO)));
    return 0;
}

Result<int> revoke_keys(const Session& session, const std::vector<std::string>& ids) {
    SBX_TRY(ApiClient api, session.api());
    for (const std::string& id : ids) {
        SBX_CHECK(api.remove("/v1/admin/keys/" + percent_encode(id)));
        if (!session.json) print(id + '\n');
    }
    if (session.json) print_json({{"revoked", ids}});
    return 0;
}

void add_key(CLI::App& app, Session& session) {
    CLI::App& verb = *app.add_subcommand("key", "API keys (admin)");
    verb.require_subcommand(1);
    CLI::App& create = *verb.add_subcommand("create", "Make a key and print it, once");
    auto options = std::make_shared<KeyOptions>();
    create.add_option("--tenant", options->tenant, "whose it is (default: dev)")->type_name("NAME");
    create.add_option("--label", options->label, "what it is for")->type_name("TEXT");
    create.add_flag("--admin", options->admin, "it may use the admin API");
    create.footer("Example: sandboxctl key create --tenant acme --label ci");
    create.callback([options, &session] {
        session.action = [options, &session] { return create_key(session, *options); };
    });
    CLI::App& list = *verb.add_subcommand("ls", "List keys, without the keys themselves");
    list.footer("Example: sandboxctl key ls");
    list.callback([&session] { session.action = [&session] { return list_keys(session); }; });
    CLI::App& revoke = *verb.add_subcommand("revoke", "End keys, at once");
    auto ids = std::make_shared<std::vector<std::string>>();
    revoke.add_option("id", *ids, "the keys' ids, as ls shows them")->type_name("ID")->required();
    revoke.footer("Example: sandboxctl key revoke ID");
    revoke.callback([ids, &session] {
        session.action = [ids, &session] { return revoke_keys(session, *ids); };
    });
}

// "sandboxes=50 per_sandbox.pids=256": in the words that tenant set takes.
void append_limit(std::string& out, const std::string& name, const json& value) {
    if (value.is_object()) {
        for (const auto& [inner, part] : value.items()) append_limit(out, name + '.' + inner, part);
        return;
    }
    out += (out.empty() ? "" : " ") + name + '=' + value.dump();
}

Result<int> list_tenants(const Session& session) {
    SBX_TRY(ApiClient api, session.api());
    SBX_TRY(const json tenants, api.list("/v1/admin/tenants", "tenants", kEntriesMax));
    if (session.json) {
        print_json({{"tenants", tenants}});
        return 0;
    }
    Table table{{{"TENANT"}, {"LIMITS"}}};
    for (const json& tenant : tenants) {
        const json ceilings = tenant.value("limits", json::object());
        std::string limits;
        for (const auto& [name, value] : ceilings.items()) append_limit(limits, name, value);
        const std::string id = text_of(tenant, "id");
        table.add({{id.empty() ? text_of(tenant, "tenant") : id}, {limits}});
    }
    print(table.text(palette_of(STDOUT_FILENO)));
    return 0;
}

// Names and ranges of limits are the daemon's: it refuses what it does not know by name.
Result<int> set_tenant(const Session& session, const std::string& tenant,
                       const std::vector<std::string>& limits) {
    json body = json::object();
    for (const std::string& entry : limits) {
        SBX_TRY(const NameValue pair, parse_pair(entry, "limit"));
        json value = json::parse(pair.value, nullptr, false);
        if (!value.is_number() && !value.is_boolean()) {
            return Error{Errc::invalid_argument, "limit " + entry,
                         "expected a number, true or false"};
        }
        const std::size_t dot = pair.name.find('.');
        if (dot == std::string::npos) {
            body["limits"][pair.name] = std::move(value);
        } else {
            body["limits"][pair.name.substr(0, dot)][pair.name.substr(dot + 1)] = std::move(value);
        }
    }
    SBX_TRY(ApiClient api, session.api());
    SBX_TRY(const json answer, api.put("/v1/admin/tenants/" + percent_encode(tenant), body));
    if (session.json) {
        print_json(answer);
    } else {
        print(tenant + '\n');
    }
    return 0;
}

void add_tenant(CLI::App& app, Session& session) {
    CLI::App& verb = *app.add_subcommand("tenant", "Tenants and their ceilings (admin)");
    verb.require_subcommand(1);
    CLI::App& list = *verb.add_subcommand("ls", "List tenants");
    list.footer("Example: sandboxctl tenant ls");
    list.callback([&session] { session.action = [&session] { return list_tenants(session); }; });
    CLI::App& set = *verb.add_subcommand("set", "Make a tenant, or change its ceilings");
    auto name = std::make_shared<std::string>();
    auto limits = std::make_shared<std::vector<std::string>>();
    set.add_option("name", *name, "the tenant")->type_name("NAME")->required();
    set.add_option("limit", *limits, "its ceilings, as ls shows them")->type_name("LIMIT=N");
    set.footer("Example: sandboxctl tenant set acme sandboxes=50");
    set.callback([name, limits, &session] {
        session.action = [name, limits, &session] { return set_tenant(session, *name, *limits); };
    });
}

void add_cordon(CLI::App& app, Session& session, const std::string& name,
                const std::string& purpose) {
    CLI::App& verb = *app.add_subcommand(name, purpose);
    verb.footer("Example: sandboxctl " + name);
    verb.callback([name, &session] {
        session.action = [name, &session]() -> Result<int> {
            SBX_TRY(ApiClient api, session.api());
            SBX_TRY(const json answer, api.post("/v1/admin/" + name, json::object()));
            if (session.json) print_json(answer);
            return 0;
        };
    });
}

Result<int> drain(const Session& session, const std::string& timeout) {
    json body = json::object();
    if (!timeout.empty()) {
        SBX_TRY(const std::uint64_t ms, parse_milliseconds(timeout));
        body["timeout_s"] = (ms + 999) / 1000;
    }
    SBX_TRY(ApiClient api, session.api());
    Request request;
    request.method = "POST";
    request.path = "/v1/admin/drain";
    request.body = body.dump();
    request.patience = {};  // the daemon keeps the time
    SBX_TRY(const json answer, api.call(request));
    const bool drained = answer.value("drained", false);
    if (session.json) {
        print_json(answer);
    } else if (!drained) {
        note(std::to_string(number_of(answer, "execs_running")) +
             " programs still run; no new sandboxes are taken (see uncordon)");
        const json running = answer.value("running", json::array());
        for (const json& run : running)
            print(text_of(run, "sandbox_id") + ' ' + text_of(run, "exec_id") + '\n');
    }
    return drained ? 0 : 1;
}

void add_drain(CLI::App& app, Session& session) {
    CLI::App& verb =
        *app.add_subcommand("drain", "Refuse new sandboxes and wait until nothing runs (admin)");
    auto timeout = std::make_shared<std::string>();
    verb.add_option("--timeout", *timeout, "how long to wait (default: 60s)")->type_name("TIME");
    verb.footer(
        "The exit code is 1 when something still runs; it is listed. Sandboxes stay.\n\nExample: "
        "sandboxctl drain --timeout 5m");
    verb.callback([timeout, &session] {
        session.action = [timeout, &session] { return drain(session, *timeout); };
    });
}

}  // namespace

void add_admin(CLI::App& app, Session& session) {
    add_key(app, session);
    add_tenant(app, session);
    add_cordon(app, session, "cordon", "Refuse new sandboxes, keep the others going (admin)");
    add_cordon(app, session, "uncordon", "Take new sandboxes again (admin)");
    add_drain(app, session);
}

}  // namespace sandboxd::ctl
