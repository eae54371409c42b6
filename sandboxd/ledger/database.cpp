#include "sandboxd/ledger/database.hpp"

#include <fcntl.h>
#include <sqlite3.h>

#include <cerrno>
#include <utility>

#include "sandboxd/core/assert.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::ledger {

namespace {

constexpr int kBusyMilliseconds = 5000;

std::string file_of(sqlite3* handle) {
    const char* name = sqlite3_db_filename(handle, "main");
    return name == nullptr || *name == 0 ? "the database in memory" : name;
}

Error damaged(std::string operation, const std::string& file, const std::string& reason) {
    return Error{Errc::internal, std::move(operation),
                 file + " is damaged (" + reason +
                     "): stop sandboxd and restore it from a backup, or move it away with its -wal "
                     "and -shm files "
                     "to begin with an empty one"};
}

// SQLite tells a full disk by ENOSPC only; a quota (EDQUOT) comes as an I/O error.
Error io_error(sqlite3* handle, std::string operation, const std::string& detail) {
    const int system = sqlite3_system_errno(handle);
    if (system != 0) return errno_error(system, std::move(operation), detail);
    return Error{Errc::internal, std::move(operation), detail};
}

Error database_error(sqlite3* handle, std::string operation) {
    if (handle == nullptr) return Error{Errc::internal, std::move(operation), "out of memory"};
    const std::string reason = sqlite3_errmsg(handle);
    const std::string file = file_of(handle);
    const std::string detail = file + ": " + reason;
    switch (sqlite3_errcode(handle) & 0xff) {
        case SQLITE_FULL:
            return Error{Errc::disk_full, std::move(operation),
                         "no space left for " + file + " (" + reason + ")"};
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return Error{Errc::unavailable, std::move(operation), detail};
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
            return damaged(std::move(operation), file, reason);
        case SQLITE_CONSTRAINT:
            return Error{Errc::conflict, std::move(operation), detail};
        case SQLITE_TOOBIG:
            return Error{Errc::payload_too_large, std::move(operation), detail};
        case SQLITE_IOERR:
        case SQLITE_CANTOPEN:
            return io_error(handle, std::move(operation), detail);
        default:
            return Error{Errc::internal, std::move(operation), detail};
    }
}

// SQLite would create the file for everybody to read; it holds the hashes of keys. Opened only when
// it is new: closing a descriptor of a file drops every lock that this process has on it.
Result<void> create_private(const std::string& path) {
    if (path == ":memory:") return {};
    const auto made = sys::open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (!made && !made.error().is_errno(EEXIST)) return made.error();
    return {};
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : statement_{std::exchange(other.statement_, nullptr)},
      bind_error_{std::exchange(other.bind_error_, std::nullopt)} {}

Statement& Statement::operator=(Statement&& other) noexcept {
    if (this != &other) {
        sqlite3_finalize(statement_);
        statement_ = std::exchange(other.statement_, nullptr);
        bind_error_ = std::exchange(other.bind_error_, std::nullopt);
    }
    return *this;
}

Statement::~Statement() {
    sqlite3_finalize(statement_);
}

void Statement::note_bind(int rc) {
    if (rc == SQLITE_OK || bind_error_) return;
    bind_error_ = database_error(sqlite3_db_handle(statement_), "bind");
}

Statement& Statement::bind(int position, std::int64_t value) {
    note_bind(sqlite3_bind_int64(statement_, position, value));
    return *this;
}

Statement& Statement::bind(int position, std::string_view text) {
    // A null pointer would be bound as NULL, and an empty view may have one.
    const char* data = text.data() == nullptr ? "" : text.data();
    note_bind(sqlite3_bind_text64(statement_, position, data, text.size(), SQLITE_TRANSIENT,
                                  SQLITE_UTF8));
    return *this;
}

Statement& Statement::bind_blob(int position, std::span<const std::byte> bytes) {
    const void* data = bytes.empty() ? static_cast<const void*>("") : bytes.data();
    note_bind(sqlite3_bind_blob64(statement_, position, data, bytes.size(), SQLITE_TRANSIENT));
    return *this;
}

Statement& Statement::bind_null(int position) {
    note_bind(sqlite3_bind_null(statement_, position));
    return *this;
}

Result<bool> Statement::step() {
    if (bind_error_) return *std::exchange(bind_error_, std::nullopt);
    const int rc = sqlite3_step(statement_);
    if (rc == SQLITE_ROW) return true;
    if (rc == SQLITE_DONE) return false;
    Error error = database_error(sqlite3_db_handle(statement_), "database");
    reset();
    return error;
}

Result<void> Statement::run() {
    const StatementUse use{*this};
    for (;;) {
        SBX_TRY(const bool row, step());
        if (!row) return {};
    }
}

void Statement::reset() {
    sqlite3_reset(statement_);  // repeats the error of the last step, which was reported there
    sqlite3_clear_bindings(statement_);
    bind_error_.reset();
}

std::int64_t Statement::integer(int column) const {
    return sqlite3_column_int64(statement_, column);
}

std::string Statement::text(int column) const {
    // As a blob: the bytes as they are, and a size that belongs to them.
    const void* data = sqlite3_column_blob(statement_, column);
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
    return data == nullptr ? std::string{} : std::string{static_cast<const char*>(data), size};
}

bool Statement::is_null(int column) const {
    return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

Result<std::unique_ptr<Database>> Database::open(const std::string& path) {
    SBX_CHECK(create_private(path));
    sqlite3* handle = nullptr;
    constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    const int rc = sqlite3_open_v2(path.c_str(), &handle, kFlags, nullptr);
    std::unique_ptr<Database> database{new Database{handle}};
    if (rc != SQLITE_OK) return database_error(handle, "open " + path);
    sqlite3_busy_timeout(handle, kBusyMilliseconds);
    {
        SBX_TRY(Statement mode, database->prepare("PRAGMA journal_mode=WAL"));
        SBX_CHECK(mode.step());
        const std::string got = mode.text(0);
        if (got != "wal" && got != "memory") {
            return Error{Errc::incompatible, "open " + path,
                         "its file system can't hold a write-ahead log; put the state folder on a "
                         "local disk"};
        }
    }
    // 64 MiB each: the mapping that reads go through, and what a burst of writes may leave of the
    // log on the disk.
    SBX_CHECK(database->execute(
        "PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY;"
        "PRAGMA mmap_size=67108864; PRAGMA journal_size_limit=67108864;"
        "CREATE TABLE IF NOT EXISTS schema_versions(component TEXT PRIMARY KEY, version INTEGER "
        "NOT NULL) STRICT;"));
    return database;
}

Database::~Database() {
    // _v2: a statement that is finalized later (a member declared before the database) is no error.
    sqlite3_close_v2(handle_);
}

Result<void> Database::execute(const char* sql) {
    if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) != SQLITE_OK)
        return database_error(handle_, "database");
    return {};
}

Result<Statement> Database::prepare(std::string_view sql) {
    sqlite3_stmt* statement = nullptr;
    const int rc = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (rc != SQLITE_OK) return database_error(handle_, "prepare");
    return Statement{statement};
}

std::int64_t Database::changes() const noexcept {
    return sqlite3_changes64(handle_);
}

Result<void> Database::migrate(std::string_view component,
                               std::span<const char* const> migrations) {
    SBX_TRY(Transaction transaction, Transaction::begin(*this));
    std::size_t version = 0;
    {
        SBX_TRY(Statement read, prepare("SELECT version FROM schema_versions WHERE component = ?"));
        SBX_TRY(const bool known, read.bind(1, component).step());
        if (known) version = static_cast<std::size_t>(read.integer(0));
    }
    if (version > migrations.size()) {
        return Error{Errc::incompatible, "migrate",
                     file_of(handle_) + " was written by a newer sandboxd (" +
                         std::string{component} + " " + std::to_string(version) +
                         ", this one knows " + std::to_string(migrations.size()) +
                         "): run that version, or move the file away"};
    }
    if (version == migrations.size()) return transaction.commit();
    for (std::size_t i = version; i < migrations.size(); ++i) SBX_CHECK(execute(migrations[i]));
    SBX_TRY(Statement write, prepare("INSERT INTO schema_versions VALUES(?, ?)"
                                     " ON CONFLICT DO UPDATE SET version = excluded.version"));
    SBX_CHECK(write.bind(1, component).bind(2, static_cast<std::int64_t>(migrations.size())).run());
    return transaction.commit();
}

Result<Transaction> Transaction::begin(Database& database) {
    SBX_CHECK(database.execute("BEGIN IMMEDIATE"));
    return Transaction{database};
}

Result<Transaction> Transaction::begin_read(Database& database) {
    SBX_CHECK(database.execute("BEGIN DEFERRED"));
    return Transaction{database};
}

Transaction::Transaction(Transaction&& other) noexcept
    : database_{std::exchange(other.database_, nullptr)} {}

Transaction::~Transaction() {
    // Ignored: after some errors SQLite has rolled back by itself, and says so here.
    if (database_ != nullptr) (void)database_->execute("ROLLBACK");
}

Result<void> Transaction::commit() {
    SBX_ASSERT(database_ != nullptr);
    SBX_CHECK(database_->execute("COMMIT"));
    database_ = nullptr;
    return {};
}

}  // namespace sandboxd::ledger
