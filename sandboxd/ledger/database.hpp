#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sandboxd/core/result.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace sandboxd::ledger {

// A prepared statement. Values are bound by 1-based position and copied; a failed bind is reported
// by the next step(). Between two uses it must be reset (StatementUse does it): an open read keeps
// the write-ahead log from being folded in. Must not outlive its Database.
class Statement {
public:
    Statement() = default;
    Statement(Statement&& other) noexcept;
    Statement& operator=(Statement&& other) noexcept;
    ~Statement();

    Statement& bind(int position, std::int64_t value);
    Statement& bind(int position, std::string_view text);
    Statement& bind_blob(int position, std::span<const std::byte> bytes);
    Statement& bind_null(int position);
    // True: a row is there. False: done. Otherwise disk_full, unavailable (locked by another
    // process for longer than 5 s), conflict (a constraint of the schema) or internal (damaged: the
    // message names the file and the cure).
    [[nodiscard]] Result<bool> step();
    [[nodiscard]] Result<void> run();  // step to the end, then reset
    void reset();

    [[nodiscard]] std::int64_t integer(int column) const;
    [[nodiscard]] std::string text(int column) const;  // also the bytes of a blob
    [[nodiscard]] bool is_null(int column) const;

private:
    friend class Database;
    explicit Statement(sqlite3_stmt* statement) noexcept : statement_{statement} {}
    void note_bind(int rc);
    sqlite3_stmt* statement_ = nullptr;
    std::optional<Error> bind_error_;
};

// One use of a statement that is kept: resets it on every way out.
class StatementUse {
public:
    explicit StatementUse(Statement& statement) noexcept : statement_{statement} {}
    ~StatementUse() { statement_.reset(); }
    StatementUse(const StatementUse&) = delete;
    StatementUse& operator=(const StatementUse&) = delete;
    [[nodiscard]] Statement* operator->() const noexcept { return &statement_; }
    [[nodiscard]] Statement& operator*() const noexcept { return statement_; }

private:
    Statement& statement_;
};

// One SQLite file in WAL mode (or ":memory:"). A resource; one thread at a time. What is committed
// survives the death of the process (synchronous=NORMAL); a power cut may take the last commits,
// never an earlier one without the later.
class Database {
public:
    // Creates the file with mode 0600 when it is missing; its folder must exist and allow writing.
    [[nodiscard]] static Result<std::unique_ptr<Database>> open(const std::string& path);
    ~Database();
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;

    [[nodiscard]] Result<void> execute(const char* sql);
    [[nodiscard]] Result<Statement> prepare(std::string_view sql);
    // Rows that the last INSERT, UPDATE or DELETE changed.
    [[nodiscard]] std::int64_t changes() const noexcept;
    // Migrations are numbered from 1 per component and run once each, all in one transaction.
    // incompatible when the file has more of them than we know: a newer sandboxd has written it.
    [[nodiscard]] Result<void> migrate(std::string_view component,
                                       std::span<const char* const> migrations);

private:
    explicit Database(sqlite3* handle) noexcept : handle_{handle} {}
    sqlite3* handle_;
};

// Rolls back unless committed.
class Transaction {
public:
    [[nodiscard]] static Result<Transaction> begin(Database& database);  // BEGIN IMMEDIATE
    // For reads alone: all of them see the state of the first.
    [[nodiscard]] static Result<Transaction> begin_read(Database& database);
    Transaction(Transaction&& other) noexcept;
    ~Transaction();
    [[nodiscard]] Result<void> commit();

private:
    explicit Transaction(Database& database) noexcept : database_{&database} {}
    Database* database_;
};

}  // namespace sandboxd::ledger
