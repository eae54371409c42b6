#include "sandboxd/ledger/records.hpp"

#include <cstring>
#include <utility>

#include "sandboxd/ledger/columns.hpp"
#include "sandboxd/ledger/records_state.hpp"

namespace sandboxd::ledger {

namespace {

#define SBX_LIMITS                                                                             \
    " cpu_milli INTEGER NOT NULL, memory_bytes INTEGER NOT NULL, disk_bytes INTEGER NOT NULL," \
    " pids INTEGER NOT NULL, output_bytes INTEGER NOT NULL,"

// Only ever append to the list.
constexpr std::array<const char*, 2> kMigrations{
    // The first five are for one sandbox, total_* over all of them.
    "CREATE TABLE tenants(id TEXT PRIMARY KEY," SBX_LIMITS
    " sandboxes INTEGER NOT NULL, total_cpu_milli INTEGER NOT NULL, total_memory_bytes INTEGER NOT "
    "NULL,"
    " creates_per_second INTEGER NOT NULL, max_timeout_s INTEGER NOT NULL, max_exec_ms INTEGER NOT "
    "NULL,"
    " allow_root INTEGER NOT NULL, created INTEGER NOT NULL) STRICT;"

    "CREATE TABLE api_keys(id TEXT PRIMARY KEY, tenant TEXT NOT NULL, hash BLOB NOT NULL UNIQUE, "
    "label TEXT NOT NULL,"
    " admin INTEGER NOT NULL, created INTEGER NOT NULL, revoked INTEGER) STRICT;"

    "CREATE TABLE sandboxes(id TEXT PRIMARY KEY, tenant TEXT NOT NULL, template TEXT NOT "
    "NULL," SBX_LIMITS
    " network TEXT NOT NULL, allow_root INTEGER NOT NULL, env TEXT NOT NULL, metadata TEXT NOT "
    "NULL,"
    " timeout_s INTEGER NOT NULL, pause_on_timeout INTEGER NOT NULL, created INTEGER NOT NULL,"
    " last_used INTEGER NOT NULL, provisional INTEGER NOT NULL, paused INTEGER NOT NULL, ended "
    "INTEGER,"
    " end_reason TEXT NOT NULL) STRICT;"
    "CREATE INDEX sandboxes_living ON sandboxes(created, id) WHERE ended IS NULL;"
    "CREATE INDEX sandboxes_ended ON sandboxes(ended) WHERE ended IS NOT NULL;"

    "CREATE TABLE execs(sandbox TEXT NOT NULL, number INTEGER NOT NULL, command TEXT NOT NULL, cwd "
    "TEXT NOT NULL,"
    " user TEXT NOT NULL, pty INTEGER NOT NULL, timeout_ms INTEGER NOT NULL, output_limit INTEGER "
    "NOT NULL,"
    " on_output_limit TEXT NOT NULL, started INTEGER NOT NULL, ended INTEGER, status TEXT NOT NULL,"
    " exit_code INTEGER NOT NULL, signal INTEGER NOT NULL, out_dropped INTEGER NOT NULL,"
    " err_dropped INTEGER NOT NULL, PRIMARY KEY(sandbox, number)) STRICT, "
    "WITHOUT ROWID;"

    "CREATE TABLE idempotency(tenant TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL,"
    " status INTEGER NOT NULL, content_type TEXT NOT NULL, body BLOB NOT NULL, created INTEGER NOT "
    "NULL,"
    " PRIMARY KEY(tenant, key)) STRICT;"
    "CREATE INDEX idempotency_created ON idempotency(created);",

    // Numbers of policies::Profile: 1 is "default".
    "ALTER TABLE tenants ADD COLUMN profile INTEGER NOT NULL DEFAULT 1;"
    "ALTER TABLE sandboxes ADD COLUMN profile INTEGER NOT NULL DEFAULT 1;"
    "ALTER TABLE execs ADD COLUMN denials TEXT NOT NULL DEFAULT '';"};

#undef SBX_LIMITS

}  // namespace

Result<policies::Profile> stored_profile(int number) {
    if (number >= 0 && static_cast<std::size_t>(number) < policies::kProfiles)
        return static_cast<policies::Profile>(number);
    return Error{Errc::invalid_argument, "profile", "the stored number is unknown"};
}

Records::Records(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
Records::~Records() = default;

Result<std::unique_ptr<Records>> Records::open(Database& database) {
    SBX_CHECK(database.migrate("records", kMigrations));
    auto impl = std::make_unique<Impl>(database);
    SBX_CHECK(impl->prepare_sandboxes());
    SBX_CHECK(impl->prepare_idempotency());
    return std::unique_ptr<Records>{new Records{std::move(impl)}};
}

Result<void> Records::put_tenant(const TenantRecord& tenant) {
    SBX_TRY(Statement put,
            impl_->database.prepare(
                "INSERT OR REPLACE INTO tenants VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
    const policies::TenantLimits& l = tenant.limits;
    const policies::Limits& each = l.per_sandbox;
    ColumnWriter{put} << tenant.id << each.cpu_milli << each.memory_bytes << each.disk_bytes
                      << each.pids << each.output_bytes << l.sandboxes << l.cpu_milli
                      << l.memory_bytes << l.creates_per_second << l.max_timeout_s << l.max_exec_ms
                      << l.allow_root << tenant.created << static_cast<int>(l.profile);
    return put.run();
}

Result<std::vector<TenantRecord>> Records::tenants() {
    SBX_TRY(Statement rows, impl_->database.prepare("SELECT * FROM tenants ORDER BY id"));
    std::vector<TenantRecord> out;
    for (;;) {
        SBX_TRY(const bool row, rows.step());
        if (!row) return out;
        int profile = 0;
        TenantRecord& tenant = out.emplace_back();
        policies::TenantLimits& l = tenant.limits;
        policies::Limits& each = l.per_sandbox;
        ColumnReader{rows} >> tenant.id >> each.cpu_milli >> each.memory_bytes >> each.disk_bytes >>
            each.pids >> each.output_bytes >> l.sandboxes >> l.cpu_milli >> l.memory_bytes >>
            l.creates_per_second >> l.max_timeout_s >> l.max_exec_ms >> l.allow_root >>
            tenant.created >> profile;
        SBX_TRY(l.profile, stored_profile(profile));
    }
}

Result<void> Records::put_key(const KeyRecord& key) {
    SBX_TRY(Statement put,
            impl_->database.prepare("INSERT INTO api_keys VALUES(?,?,?,?,?,?,?) ON CONFLICT(id) DO "
                                    "UPDATE SET tenant = excluded.tenant,"
                                    " hash = excluded.hash, label = excluded.label, admin = "
                                    "excluded.admin, created = excluded.created,"
                                    " revoked = excluded.revoked"));
    ColumnWriter columns{put};
    columns << key.id << key.tenant;
    columns.blob(key.hash);
    columns << key.label << key.admin << key.created << key.revoked;
    return put.run();
}

Result<std::vector<KeyRecord>> Records::keys() {
    SBX_TRY(Statement rows, impl_->database.prepare("SELECT * FROM api_keys ORDER BY created, id"));
    std::vector<KeyRecord> out;
    for (;;) {
        SBX_TRY(const bool row, rows.step());
        if (!row) return out;
        KeyRecord key;
        std::string hash;
        ColumnReader{rows} >> key.id >> key.tenant >> hash >> key.label >> key.admin >>
            key.created >> key.revoked;
        if (hash.size() != key.hash.size()) {
            return Error{Errc::internal, "keys",
                         "the stored hash of " + key.id.str() + " is damaged"};
        }
        std::memcpy(key.hash.data(), hash.data(), hash.size());
        out.push_back(std::move(key));
    }
}

Result<void> Records::revoke_key(const KeyId& id, WallTime when) {
    SBX_TRY(
        Statement update,
        impl_->database.prepare("UPDATE api_keys SET revoked = coalesce(revoked, ?) WHERE id = ?"));
    ColumnWriter{update} << when << id;
    SBX_CHECK(update.run());
    if (impl_->database.changes() == 0)
        return Error{Errc::not_found, "key", id.str() + " does not exist"};
    return {};
}

Result<void> Records::prune(WallTime before) {
    SBX_TRY(Transaction transaction, Transaction::begin(impl_->database));
    for (const char* sql :
         {"DELETE FROM sandboxes WHERE ended < ?1",
          "DELETE FROM execs WHERE started < ?1 AND sandbox NOT IN (SELECT id FROM sandboxes)",
          "DELETE FROM idempotency WHERE created < ?1"}) {
        SBX_TRY(Statement drop, impl_->database.prepare(sql));
        ColumnWriter{drop} << before;
        SBX_CHECK(drop.run());
    }
    return transaction.commit();
}

}  // namespace sandboxd::ledger
