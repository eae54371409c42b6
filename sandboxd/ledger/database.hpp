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

// A prepared statement, reset when it goes out of scope of one use. Values are bound by 1-based position.
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
    // True: a row is there. False: done. disk_full, unavailable (busy) or internal otherwise.
    [[nodiscard]] Result<bool> step();
    [[nodiscard]] Result<void> run();  // step to the end, then reset
    void reset();

    [[nodiscard]] std::int64_t integer(int column) const;
    [[nodiscard]] std::string text(int column) const;
    [[nodiscard]] bool is_null(int column) const;

private:
    friend class Database;
    explicit Statement(sqlite3_stmt* statement) noexcept : statement_{statement} {}
    sqlite3_stmt* statement_ = nullptr;
    std::optional<Error> bind_error_;
};

// One SQLite file in WAL mode. A resource; one thread at a time.
class Database {
public:
    [[nodiscard]] static Result<std::unique_ptr<Database>> open(const std::string& path);
    ~Database();
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;

    [[nodiscard]] Result<void> execute(const char* sql);
    [[nodiscard]] Result<Statement> prepare(std::string_view sql);
    // Migrations are numbered from 1 per component and run once each, in a transaction.
    [[nodiscard]] Result<void> migrate(std::string_view component, std::span<const char* const> migrations);

private:
    explicit Database(sqlite3* handle) noexcept : handle_{handle} {}
    sqlite3* handle_;
};

// Rolls back unless committed.
class Transaction {
public:
    [[nodiscard]] static Result<Transaction> begin(Database& database);  // BEGIN IMMEDIATE
    Transaction(Transaction&& other) noexcept;
    ~Transaction();
    [[nodiscard]] Result<void> commit();

private:
    explicit Transaction(Database& database) noexcept : database_{&database} {}
    Database* database_;
};

}  // namespace sandboxd::ledger
