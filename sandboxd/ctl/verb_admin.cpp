#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <unistd.h>

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
    Table table{{{"ID"}, {"TENANT"}, {"LABEL"}, {"ADMIN"}, {"AGE"}}};
    const WallTime now = system_clock().wall();
    for (const json& key : keys) {
        table.add({{text_of(key, "id")}, {text_of(key, "tenant")}, {text_of(key, "label")},
                   {key.contains("admin") && key["admin"] == true ? "yes" : "-"}, {format_age(text_of(key, "created_at"), now)}});
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
    create.callback([options, &session] { session.action = [options, &session] { return create_key(session, *options); }; });
    CLI::App& list = *verb.add_subcommand("ls", "List keys, without the keys themselves");
    list.footer("Example: sandboxctl key ls");
    list.callback([&session] { session.action = [&session] { return list_keys(session); }; });
    CLI::App& revoke = *verb.add_subcommand("revoke", "End keys, at once");
    auto ids = std::make_shared<std::vector<std::string>>();
    revoke.add_option("id", *ids, "the keys' ids, as ls shows them")->type_name("ID")->required();
    revoke.footer("Example: sandboxctl key revoke ID");
    revoke.callback([ids, &session] { session.action = [ids, &session] { return revoke_keys(session, *ids); }; });
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
        std::string limits;
        for (const auto& [name, value] : tenant.value("limits", json::object()).items()) {
            limits += (limits.empty() ? "" : " ") + name + '=' + value.dump();
        }
        const std::string id = text_of(tenant, "id");
        table.add({{id.empty() ? text_of(tenant, "tenant") : id}, {limits}});
    }
    print(table.text(palette_of(STDOUT_FILENO)));
    return 0;
}

// Names and ranges of limits are the daemon's: it refuses what it does not know by name.
Result<int> set_tenant(const Session& session, const std::string& tenant, const std::vector<std::string>& limits) {
    json body = json::object();
    for (const std::string& entry : limits) {
        SBX_TRY(const NameValue pair, parse_pair(entry, "limit"));
        json value = json::parse(pair.value, nullptr, false);
        if (!value.is_number() && !value.is_boolean()) {
            return Error{Errc::invalid_argument, "limit " + entry, "expected a number, true or false"};
        }
        body["limits"][pair.name] = std::move(value);
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
    set.callback([name, limits, &session] { session.action = [name, limits, &session] { return set_tenant(session, *name, *limits); }; });
}

void add_node_verb(CLI::App& app, Session& session, const std::string& name, const std::string& purpose, bool waits) {
    CLI::App& verb = *app.add_subcommand(name, purpose);
    verb.footer("Example: sandboxctl " + name);
    verb.callback([name, waits, &session] {
        session.action = [name, waits, &session]() -> Result<int> {
            SBX_TRY(ApiClient api, session.api());
            Request request;
            request.method = "POST";
            request.path = "/v1/admin/" + name;
            request.body = "{}";
            if (waits) request.patience = {};
            SBX_TRY(const json answer, api.call(request));
            if (session.json) print_json(answer);
            return 0;
        };
    });
}

}  // namespace

void add_admin(CLI::App& app, Session& session) {
    add_key(app, session);
    add_tenant(app, session);
    add_node_verb(app, session, "cordon", "Refuse new sandboxes, keep the others going (admin)", false);
    add_node_verb(app, session, "uncordon", "Take new sandboxes again (admin)", false);
    add_node_verb(app, session, "drain", "Refuse new sandboxes and wait until nothing runs (admin)", true);
}

}  // namespace sandboxd::ctl
