#include "sandboxd/ledger/records.hpp"

#include <cstring>
#include <nlohmann/json.hpp>

namespace sandboxd::ledger {

namespace {

using nlohmann::json;

constexpr std::array kMigrations{
    "CREATE TABLE tenants(id TEXT PRIMARY KEY, limits TEXT NOT NULL, created INTEGER NOT NULL) STRICT;"
    "CREATE TABLE api_keys(id TEXT PRIMARY KEY, tenant TEXT NOT NULL, hash BLOB NOT NULL UNIQUE, label TEXT NOT NULL, admin INTEGER NOT NULL,"
    " created INTEGER NOT NULL, revoked INTEGER) STRICT;"
    "CREATE TABLE sandboxes(id TEXT PRIMARY KEY, tenant TEXT NOT NULL, created INTEGER NOT NULL, ended INTEGER, end_reason TEXT NOT NULL,"
    " document TEXT NOT NULL) STRICT;"
    "CREATE INDEX sandboxes_ended ON sandboxes(ended);"
    "CREATE TABLE execs(sandbox TEXT NOT NULL, number INTEGER NOT NULL, document TEXT NOT NULL, PRIMARY KEY(sandbox, number)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE idempotency(tenant TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL, status INTEGER NOT NULL, content_type TEXT NOT NULL,"
    " body TEXT NOT NULL, created INTEGER NOT NULL, PRIMARY KEY(tenant, key)) STRICT;"};

std::int64_t ns(WallTime time) { return time.time_since_epoch().count(); }
WallTime time_of(std::int64_t value) { return WallTime{std::chrono::nanoseconds{value}}; }

json to_json(const policies::Limits& l) {
    return {{"cpu_milli", l.cpu_milli}, {"memory", l.memory_bytes}, {"disk", l.disk_bytes}, {"pids", l.pids}, {"output", l.output_bytes}};
}

policies::Limits limits_of(const json& j) {
    policies::Limits out;
    out.cpu_milli = j.value("cpu_milli", out.cpu_milli);
    out.memory_bytes = j.value("memory", out.memory_bytes);
    out.disk_bytes = j.value("disk", out.disk_bytes);
    out.pids = j.value("pids", out.pids);
    out.output_bytes = j.value("output", out.output_bytes);
    return out;
}

json to_json(const policies::TenantLimits& l) {
    return {{"per_sandbox", to_json(l.per_sandbox)}, {"sandboxes", l.sandboxes}, {"cpu_milli", l.cpu_milli}, {"memory", l.memory_bytes},
            {"creates_per_second", l.creates_per_second}, {"max_timeout_s", l.max_timeout_s}, {"max_exec_ms", l.max_exec_ms}, {"allow_root", l.allow_root}};
}

policies::TenantLimits tenant_limits_of(const json& j) {
    policies::TenantLimits out;
    if (j.contains("per_sandbox")) out.per_sandbox = limits_of(j["per_sandbox"]);
    out.sandboxes = j.value("sandboxes", out.sandboxes);
    out.cpu_milli = j.value("cpu_milli", out.cpu_milli);
    out.memory_bytes = j.value("memory", out.memory_bytes);
    out.creates_per_second = j.value("creates_per_second", out.creates_per_second);
    out.max_timeout_s = j.value("max_timeout_s", out.max_timeout_s);
    out.max_exec_ms = j.value("max_exec_ms", out.max_exec_ms);
    out.allow_root = j.value("allow_root", out.allow_root);
    return out;
}

json to_json(const SandboxRecord& s) {
    return {{"template", s.template_name}, {"limits", to_json(s.limits)}, {"network", s.network}, {"allow_root", s.allow_root}, {"env", s.env},
            {"metadata", s.metadata}, {"timeout_s", s.timeout_s}, {"pause_on_timeout", s.on_timeout == OnTimeout::pause},
            {"last_used", ns(s.last_used)}, {"provisional", s.provisional}, {"paused", s.paused}};
}

Result<json> parse(const std::string& text) {
    json out = json::parse(text, nullptr, false);
    if (!out.is_object()) return Error{Errc::internal, "records", "a stored document is damaged"};
    return out;
}

// Columns: id, tenant, created, ended, end_reason, document.
Result<SandboxRecord> sandbox_of(const Statement& row) {
    SBX_TRY(const json j, parse(row.text(5)));
    SandboxRecord s;
    s.id = SandboxId::trusted(row.text(0));
    s.tenant = TenantId::trusted(row.text(1));
    s.created = time_of(row.integer(2));
    if (!row.is_null(3)) s.ended = time_of(row.integer(3));
    s.end_reason = row.text(4);
    s.template_name = j.value("template", std::string{});
    s.limits = limits_of(j.value("limits", json::object()));
    s.network = j.value("network", s.network);
    s.allow_root = j.value("allow_root", true);
    s.env = j.value("env", s.env);
    s.metadata = j.value("metadata", s.metadata);
    s.timeout_s = j.value("timeout_s", s.timeout_s);
    s.on_timeout = j.value("pause_on_timeout", false) ? OnTimeout::pause : OnTimeout::kill;
    s.last_used = time_of(j.value("last_used", std::int64_t{0}));
    s.provisional = j.value("provisional", false);
    s.paused = j.value("paused", false);
    return s;
}

json to_json(const ExecRecord& e) {
    json j{{"command", e.command}, {"cwd", e.cwd}, {"user", e.user}, {"pty", e.pty}, {"timeout_ms", e.timeout_ms}, {"output_limit", e.output_limit},
           {"on_output_limit", e.on_output_limit}, {"started", ns(e.started)}, {"status", e.status}, {"exit_code", e.exit_code}, {"signal", e.signal},
           {"out_dropped", e.out_dropped}, {"err_dropped", e.err_dropped}};
    if (e.ended) j["ended"] = ns(*e.ended);
    return j;
}

Result<ExecRecord> exec_of(const SandboxId& sandbox, const Statement& row) {
    SBX_TRY(const json j, parse(row.text(1)));
    ExecRecord e;
    e.sandbox = sandbox;
    e.number = static_cast<std::uint64_t>(row.integer(0));
    e.command = j.value("command", e.command);
    e.cwd = j.value("cwd", e.cwd);
    e.user = j.value("user", e.user);
    e.pty = j.value("pty", false);
    e.timeout_ms = j.value("timeout_ms", e.timeout_ms);
    e.output_limit = j.value("output_limit", e.output_limit);
    e.on_output_limit = j.value("on_output_limit", e.on_output_limit);
    e.started = time_of(j.value("started", std::int64_t{0}));
    if (j.contains("ended")) e.ended = time_of(j.value("ended", std::int64_t{0}));
    e.status = j.value("status", e.status);
    e.exit_code = j.value("exit_code", 0);
    e.signal = j.value("signal", 0);
    e.out_dropped = j.value("out_dropped", e.out_dropped);
    e.err_dropped = j.value("err_dropped", e.err_dropped);
    return e;
}

constexpr auto kReplace = json::error_handler_t::replace;  // command lines may hold any bytes

}  // namespace

struct Records::Impl {
    explicit Impl(Database& d) : database{d} {}
    Database& database;
};

Records::Records(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
Records::~Records() = default;

Result<std::unique_ptr<Records>> Records::open(Database& database) {
    SBX_CHECK(database.migrate("records", kMigrations));
    return std::unique_ptr<Records>{new Records{std::make_unique<Impl>(database)}};
}

Result<void> Records::put_tenant(const TenantRecord& tenant) {
    SBX_TRY(Statement put, impl_->database.prepare("INSERT INTO tenants VALUES(?,?,?) ON CONFLICT(id) DO UPDATE SET limits = excluded.limits"));
    const std::string limits = to_json(tenant.limits).dump();
    return put.bind(1, std::string_view{tenant.id.str()}).bind(2, std::string_view{limits}).bind(3, ns(tenant.created)).run();
}

Result<std::vector<TenantRecord>> Records::tenants() {
    SBX_TRY(Statement rows, impl_->database.prepare("SELECT id, limits, created FROM tenants ORDER BY id"));
    std::vector<TenantRecord> out;
    for (;;) {
        SBX_TRY(const bool row, rows.step());
        if (!row) return out;
        SBX_TRY(const json limits, parse(rows.text(1)));
        out.push_back({TenantId::trusted(rows.text(0)), tenant_limits_of(limits), time_of(rows.integer(2))});
    }
}

Result<void> Records::put_key(const KeyRecord& key) {
    SBX_TRY(Statement put, impl_->database.prepare("INSERT INTO api_keys VALUES(?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET label = excluded.label,"
                                                   " admin = excluded.admin, tenant = excluded.tenant, revoked = excluded.revoked"));
    put.bind(1, std::string_view{key.id.str()}).bind(2, std::string_view{key.tenant.str()}).bind_blob(3, key.hash).bind(4, std::string_view{key.label})
        .bind(5, std::int64_t{key.admin ? 1 : 0}).bind(6, ns(key.created));
    if (key.revoked) {
        put.bind(7, ns(*key.revoked));
    } else {
        put.bind_null(7);
    }
    return put.run();
}

Result<std::vector<KeyRecord>> Records::keys() {
    SBX_TRY(Statement rows, impl_->database.prepare("SELECT id, tenant, hash, label, admin, created, revoked FROM api_keys ORDER BY created, id"));
    std::vector<KeyRecord> out;
    for (;;) {
        SBX_TRY(const bool row, rows.step());
        if (!row) return out;
        KeyRecord key;
        key.id = KeyId::trusted(rows.text(0));
        key.tenant = TenantId::trusted(rows.text(1));
        const std::string hash = rows.text(2);
        if (hash.size() == key.hash.size()) std::memcpy(key.hash.data(), hash.data(), hash.size());
        key.label = rows.text(3);
        key.admin = rows.integer(4) != 0;
        key.created = time_of(rows.integer(5));
        if (!rows.is_null(6)) key.revoked = time_of(rows.integer(6));
        out.push_back(std::move(key));
    }
}

Result<void> Records::revoke_key(const KeyId& id, WallTime when) {
    SBX_TRY(Statement update, impl_->database.prepare("UPDATE api_keys SET revoked = ? WHERE id = ? AND revoked IS NULL RETURNING id"));
    SBX_TRY(const bool found, update.bind(1, ns(when)).bind(2, std::string_view{id.str()}).step());
    if (!found) return Error{Errc::not_found, "key", id.str() + " does not exist or is revoked"};
    return update.run();
}

Result<void> Records::put_sandbox(const SandboxRecord& s) {
    SBX_TRY(Statement put, impl_->database.prepare("INSERT OR REPLACE INTO sandboxes VALUES(?,?,?,?,?,?)"));
    const std::string document = to_json(s).dump(-1, ' ', false, kReplace);
    put.bind(1, std::string_view{s.id.str()}).bind(2, std::string_view{s.tenant.str()}).bind(3, ns(s.created));
    if (s.ended) {
        put.bind(4, ns(*s.ended));
    } else {
        put.bind_null(4);
    }
    return put.bind(5, std::string_view{s.end_reason}).bind(6, std::string_view{document}).run();
}

Result<std::vector<SandboxRecord>> Records::living_sandboxes() {
    SBX_TRY(Statement rows, impl_->database.prepare("SELECT id, tenant, created, ended, end_reason, document FROM sandboxes WHERE ended IS NULL ORDER BY created"));
    std::vector<SandboxRecord> out;
    for (;;) {
        SBX_TRY(const bool row, rows.step());
        if (!row) return out;
        SBX_TRY(SandboxRecord record, sandbox_of(rows));
        out.push_back(std::move(record));
    }
}

Result<std::optional<SandboxRecord>> Records::sandbox(const SandboxId& id) {
    SBX_TRY(Statement rows, impl_->database.prepare("SELECT id, tenant, created, ended, end_reason, document FROM sandboxes WHERE id = ?"));
    SBX_TRY(const bool row, rows.bind(1, std::string_view{id.str()}).step());
    if (!row) return std::optional<SandboxRecord>{};
    SBX_TRY(SandboxRecord record, sandbox_of(rows));
    return std::optional{std::move(record)};
}

Result<void> Records::put_exec(const ExecRecord& exec) {
    SBX_TRY(Statement put, impl_->database.prepare("INSERT OR REPLACE INTO execs VALUES(?,?,?)"));
    const std::string document = to_json(exec).dump(-1, ' ', false, kReplace);
    return put.bind(1, std::string_view{exec.sandbox.str()}).bind(2, static_cast<std::int64_t>(exec.number)).bind(3, std::string_view{document}).run();
}

Result<std::vector<ExecRecord>> Records::execs(const SandboxId& sandbox) {
    SBX_TRY(Statement rows, impl_->database.prepare("SELECT number, document FROM execs WHERE sandbox = ? ORDER BY number"));
    rows.bind(1, std::string_view{sandbox.str()});
    std::vector<ExecRecord> out;
    for (;;) {
        SBX_TRY(const bool row, rows.step());
        if (!row) return out;
        SBX_TRY(ExecRecord record, exec_of(sandbox, rows));
        out.push_back(std::move(record));
    }
}

Result<std::optional<IdempotencyRecord>> Records::claim_idempotency(const IdempotencyRecord& r) {
    SBX_TRY(Statement put, impl_->database.prepare("INSERT INTO idempotency VALUES(?,?,?,0,'','',?) ON CONFLICT DO NOTHING RETURNING key"));
    put.bind(1, std::string_view{r.tenant.str()}).bind(2, std::string_view{r.key}).bind(3, std::string_view{r.request_fingerprint}).bind(4, ns(r.created));
    SBX_TRY(const bool inserted, put.step());
    if (inserted) {
        SBX_CHECK(put.run());
        return std::optional<IdempotencyRecord>{};
    }
    SBX_TRY(Statement get, impl_->database.prepare("SELECT fingerprint, status, content_type, body, created FROM idempotency WHERE tenant = ? AND key = ?"));
    SBX_TRY(const bool row, get.bind(1, std::string_view{r.tenant.str()}).bind(2, std::string_view{r.key}).step());
    if (!row) return Error{Errc::unavailable, "idempotency", "the record went meanwhile; try again"};
    return std::optional{IdempotencyRecord{r.tenant, r.key, get.text(0), static_cast<std::uint32_t>(get.integer(1)), get.text(2), get.text(3), time_of(get.integer(4))}};
}

Result<void> Records::finish_idempotency(const IdempotencyRecord& r) {
    SBX_TRY(Statement put, impl_->database.prepare("UPDATE idempotency SET status = ?, content_type = ?, body = ? WHERE tenant = ? AND key = ?"));
    return put.bind(1, std::int64_t{r.status}).bind(2, std::string_view{r.content_type}).bind(3, std::string_view{r.body})
        .bind(4, std::string_view{r.tenant.str()}).bind(5, std::string_view{r.key}).run();
}

Result<void> Records::drop_idempotency(const TenantId& tenant, const std::string& key) {
    SBX_TRY(Statement drop, impl_->database.prepare("DELETE FROM idempotency WHERE tenant = ? AND key = ?"));
    return drop.bind(1, std::string_view{tenant.str()}).bind(2, std::string_view{key}).run();
}

Result<void> Records::prune(WallTime before) {
    for (const char* sql : {"DELETE FROM execs WHERE sandbox IN (SELECT id FROM sandboxes WHERE ended < ?)", "DELETE FROM sandboxes WHERE ended < ?",
                            "DELETE FROM idempotency WHERE created < ?"}) {
        SBX_TRY(Statement drop, impl_->database.prepare(sql));
        SBX_CHECK(drop.bind(1, ns(before)).run());
    }
    return {};
}

}  // namespace sandboxd::ledger
