#include "sandboxd/ledger/database.hpp"

#include <sqlite3.h>

#include <utility>

#include "sandboxd/core/assert.hpp"

namespace sandboxd::ledger {

namespace {

constexpr int kBusyMilliseconds = 5000;

Error database_error(sqlite3* handle, std::string operation) {
    const int code = handle == nullptr ? SQLITE_NOMEM : sqlite3_errcode(handle) & 0xff;
    std::string reason = handle == nullptr ? "out of memory" : sqlite3_errmsg(handle);
    switch (code) {
        case SQLITE_FULL: return Error{Errc::disk_full, std::move(operation), "the disk that holds the state folder is full: " + reason};
        case SQLITE_BUSY: case SQLITE_LOCKED: return Error{Errc::unavailable, std::move(operation), reason};
        case SQLITE_CORRUPT: case SQLITE_NOTADB:
            return Error{Errc::internal, std::move(operation), reason + ": the database is damaged; restore api/state.db from a backup, or move it away to start with an empty ledger"};
        default: return Error{Errc::internal, std::move(operation), reason};
    }
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : statement_{std::exchange(other.statement_, nullptr)}, bind_error_{std::move(other.bind_error_)} {}

Statement& Statement::operator=(Statement&& other) noexcept {
    if (this != &other) {
        sqlite3_finalize(statement_);
        statement_ = std::exchange(other.statement_, nullptr);
        bind_error_ = std::move(other.bind_error_);
    }
    return *this;
}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::bind(int position, std::int64_t value) {
    if (sqlite3_bind_int64(statement_, position, value) != SQLITE_OK) bind_error_ = database_error(sqlite3_db_handle(statement_), "bind");
    return *this;
}

Statement& Statement::bind(int position, std::string_view text) {
    const int rc = sqlite3_bind_text64(statement_, position, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
    if (rc != SQLITE_OK) bind_error_ = database_error(sqlite3_db_handle(statement_), "bind");
    return *this;
}

Statement& Statement::bind_blob(int position, std::span<const std::byte> bytes) {
    const int rc = sqlite3_bind_blob64(statement_, position, bytes.data(), bytes.size(), SQLITE_TRANSIENT);
    if (rc != SQLITE_OK) bind_error_ = database_error(sqlite3_db_handle(statement_), "bind");
    return *this;
}

Statement& Statement::bind_null(int position) {
    if (sqlite3_bind_null(statement_, position) != SQLITE_OK) bind_error_ = database_error(sqlite3_db_handle(statement_), "bind");
    return *this;
}

Result<bool> Statement::step() {
    if (bind_error_) return *std::exchange(bind_error_, std::nullopt);
    const int rc = sqlite3_step(statement_);
    if (rc == SQLITE_ROW) return true;
    if (rc == SQLITE_DONE) return false;
    Error error = database_error(sqlite3_db_handle(statement_), "ledger");
    reset();
    return error;
}

Result<void> Statement::run() {
    for (;;) {
        SBX_TRY(const bool row, step());
        if (!row) break;
    }
    reset();
    return {};
}

void Statement::reset() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Statement::text(int column) const {
    // Blob access first: it gives the bytes of both kinds, and the size belongs to the same form.
    const void* data = sqlite3_column_blob(statement_, column);
    const int size = sqlite3_column_bytes(statement_, column);
    return data == nullptr ? std::string{} : std::string{static_cast<const char*>(data), static_cast<std::size_t>(size)};
}

bool Statement::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

Result<std::unique_ptr<Database>> Database::open(const std::string& path) {
    sqlite3* handle = nullptr;
    const int rc = sqlite3_open_v2(path.c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
    std::unique_ptr<Database> database{new Database{handle}};
    if (rc != SQLITE_OK) return database_error(handle, "open " + path);
    sqlite3_busy_timeout(handle, kBusyMilliseconds);
    // WAL with synchronous=NORMAL: a commit survives a crash of this process; a power cut may take the last ones.
    SBX_CHECK(database->execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY;"
                                "CREATE TABLE IF NOT EXISTS schema_versions(component TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT;"));
    return database;
}

Database::~Database() { sqlite3_close_v2(handle_); }

Result<void> Database::execute(const char* sql) {
    if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return database_error(handle_, "ledger");
    return {};
}

Result<Statement> Database::prepare(std::string_view sql) {
    sqlite3_stmt* statement = nullptr;
    const int rc = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (rc != SQLITE_OK) return database_error(handle_, "prepare");
    return Statement{statement};
}

Result<void> Database::migrate(std::string_view component, std::span<const char* const> migrations) {
    SBX_TRY(Transaction transaction, Transaction::begin(*this));
    SBX_TRY(Statement read, prepare("SELECT version FROM schema_versions WHERE component = ?"));
    SBX_TRY(const bool known, read.bind(1, component).step());
    const auto version = known ? static_cast<std::size_t>(read.integer(0)) : 0;
    read.reset();
    if (version > migrations.size()) {
        return Error{Errc::incompatible, "ledger", "state.db was written by a newer sandboxd (" + std::string{component} + " " + std::to_string(version) +
                                                       "): run that version, or move the file away"};
    }
    for (std::size_t i = version; i < migrations.size(); ++i) SBX_CHECK(execute(migrations[i]));
    SBX_TRY(Statement write, prepare("INSERT INTO schema_versions VALUES(?, ?) ON CONFLICT DO UPDATE SET version = excluded.version"));
    SBX_CHECK(write.bind(1, component).bind(2, static_cast<std::int64_t>(migrations.size())).run());
    return transaction.commit();
}

Result<Transaction> Transaction::begin(Database& database) {
    SBX_CHECK(database.execute("BEGIN IMMEDIATE"));
    return Transaction{database};
}

Transaction::Transaction(Transaction&& other) noexcept : database_{std::exchange(other.database_, nullptr)} {}

Transaction::~Transaction() {
    if (database_ != nullptr) (void)database_->execute("ROLLBACK");  // SQLite has rolled back by itself after some errors
}

Result<void> Transaction::commit() {
    SBX_ASSERT(database_ != nullptr);
    SBX_CHECK(database_->execute("COMMIT"));
    database_ = nullptr;
    return {};
}

}  // namespace sandboxd::ledger
