#include "sandboxd/ledger/database.hpp"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "temp_dir.hpp"

namespace sandboxd::ledger {
namespace {

constexpr std::array<const char*, 1> kFirst{
    "CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;"};
constexpr std::array<const char*, 2> kSecond{kFirst[0],
                                             "ALTER TABLE notes ADD COLUMN stars INTEGER;"};

std::int64_t number(Database& database, const char* sql) {
    auto statement = database.prepare(sql);
    REQUIRE(statement);
    const auto row = statement->step();
    REQUIRE(row);
    REQUIRE(*row);
    return statement->integer(0);
}

std::string text(Database& database, const char* sql) {
    auto statement = database.prepare(sql);
    REQUIRE(statement);
    REQUIRE(statement->step());
    return statement->text(0);
}

TEST_CASE("a new database is a private file in WAL mode") {
    const TempDir dir;
    const std::string path = dir.file("state.db");
    const auto database = Database::open(path);
    REQUIRE(database);
    CHECK(text(**database, "PRAGMA journal_mode") == "wal");
    CHECK(number(**database, "PRAGMA synchronous") == 1);
    CHECK(number(**database, "PRAGMA foreign_keys") == 1);
    REQUIRE((*database)->migrate("notes", kFirst));
    for (const char* suffix : {"", "-wal", "-shm"}) {
        struct stat st {};
        REQUIRE(::stat((path + suffix).c_str(), &st) == 0);
        CHECK((st.st_mode & 0777) == 0600);
    }
}

TEST_CASE("an open that can't work says on which file and why") {
    const TempDir dir;
    const auto missing = Database::open(dir.file("no/such/folder/state.db"));
    REQUIRE(!missing);
    CHECK(missing.error().errc() == Errc::not_found);
    CHECK_THAT(missing.error().message(), Catch::Contains("no/such/folder"));
}

TEST_CASE("values come back as they were bound") {
    const auto database = Database::open(":memory:");
    REQUIRE(database);
    auto statement = (*database)->prepare("SELECT ?, ?, ?, ?, ?");
    REQUIRE(statement);
    const std::string odd("a\0b\xff", 4);
    const std::array<std::byte, 3> blob{std::byte{0}, std::byte{255}, std::byte{7}};
    statement->bind(1, INT64_MIN)
        .bind(2, std::string_view{odd})
        .bind_blob(3, blob)
        .bind_null(4)
        .bind(5, std::string_view{});
    const auto row = statement->step();
    REQUIRE(row);
    REQUIRE(*row);
    CHECK(statement->integer(0) == INT64_MIN);
    CHECK(statement->text(1) == odd);
    CHECK(statement->text(2) == std::string("\0\xff\x07", 3));
    CHECK(statement->is_null(3));
    CHECK(!statement->is_null(4));  // an empty text is no NULL
    CHECK(statement->text(4).empty());
    const auto end = statement->step();
    REQUIRE(end);
    CHECK(!*end);
}

TEST_CASE("a value that can't be bound fails the step, not the process") {
    const auto database = Database::open(":memory:");
    REQUIRE(database);
    auto statement = (*database)->prepare("SELECT ?");
    REQUIRE(statement);
    CHECK(!statement->bind(2, 1).step());
    statement->reset();
    CHECK(statement->bind(1, 1).step());
}

TEST_CASE("a broken constraint is a conflict, and the statement can be used again") {
    const auto database = Database::open(":memory:");
    REQUIRE(database);
    REQUIRE((*database)->migrate("notes", kFirst));
    auto insert = (*database)->prepare("INSERT INTO notes VALUES(?, ?)");
    REQUIRE(insert);
    REQUIRE(insert->bind(1, 1).bind(2, std::string_view{"one"}).run());
    const auto again = insert->bind(1, 1).bind(2, std::string_view{"two"}).run();
    REQUIRE(!again);
    CHECK(again.error().is(Errc::conflict));
    REQUIRE(insert->bind(1, 2).bind(2, std::string_view{"two"}).run());
    CHECK((*database)->changes() == 1);
    CHECK(number(**database, "SELECT count(*) FROM notes") == 2);
}

TEST_CASE("a transaction that is not committed leaves nothing behind") {
    const auto database = Database::open(":memory:");
    REQUIRE(database);
    REQUIRE((*database)->migrate("notes", kFirst));
    {
        auto transaction = Transaction::begin(**database);
        REQUIRE(transaction);
        REQUIRE((*database)->execute("INSERT INTO notes VALUES(1, 'gone')"));
    }
    CHECK(number(**database, "SELECT count(*) FROM notes") == 0);
    {
        auto transaction = Transaction::begin(**database);
        REQUIRE(transaction);
        REQUIRE((*database)->execute("INSERT INTO notes VALUES(1, 'stays')"));
        REQUIRE(transaction->commit());
    }
    CHECK(number(**database, "SELECT count(*) FROM notes") == 1);
}

TEST_CASE("migrations run once each, and only those that are new") {
    const TempDir dir;
    const std::string path = dir.file("state.db");
    {
        const auto database = Database::open(path);
        REQUIRE(database);
        REQUIRE((*database)->migrate("notes", kFirst));
        REQUIRE((*database)->migrate("notes", kFirst));
        REQUIRE((*database)->execute("INSERT INTO notes VALUES(1, 'kept')"));
    }
    const auto database = Database::open(path);
    REQUIRE(database);
    REQUIRE((*database)->migrate("notes", kSecond));
    CHECK(text(**database, "SELECT text FROM notes WHERE stars IS NULL") == "kept");
    CHECK(number(**database, "SELECT version FROM schema_versions WHERE component = 'notes'") == 2);
}

TEST_CASE("a migration that fails changes nothing") {
    const auto database = Database::open(":memory:");
    REQUIRE(database);
    constexpr std::array<const char*, 2> kBroken{"CREATE TABLE half(id INTEGER) STRICT;",
                                                 "CREATE TABLE half(id INTEGER) STRICT;"};
    CHECK(!(*database)->migrate("half", kBroken));
    CHECK(number(**database, "SELECT count(*) FROM sqlite_schema WHERE name = 'half'") == 0);
    CHECK(number(**database, "SELECT count(*) FROM schema_versions") == 0);
}

TEST_CASE("a database of a newer sandboxd is refused and stays as it is") {
    const TempDir dir;
    const auto database = Database::open(dir.file("state.db"));
    REQUIRE(database);
    REQUIRE((*database)->migrate("notes", kSecond));
    const auto older = (*database)->migrate("notes", kFirst);
    REQUIRE(!older);
    CHECK(older.error().is(Errc::incompatible));
    CHECK_THAT(older.error().message(),
               Catch::Contains("newer sandboxd") && Catch::Contains("state.db"));
    CHECK(number(**database, "SELECT version FROM schema_versions") == 2);
}

TEST_CASE("a full disk is disk_full, and what was there stays readable") {
    const TempDir dir;
    const auto database = Database::open(dir.file("state.db"));
    REQUIRE(database);
    REQUIRE((*database)->migrate("notes", kFirst));
    REQUIRE(
        (*database)->execute("INSERT INTO notes VALUES(1, 'first'); PRAGMA max_page_count = 12;"));
    auto insert = (*database)->prepare("INSERT INTO notes(text) VALUES(?)");
    REQUIRE(insert);
    const std::string page(4000, 'x');
    Result<void> result{};
    for (int i = 0; i < 20 && result; ++i) result = insert->bind(1, std::string_view{page}).run();
    REQUIRE(!result);
    CHECK(result.error().is(Errc::disk_full));
    CHECK_THAT(result.error().message(), Catch::Contains("state.db"));
    CHECK(text(**database, "SELECT text FROM notes WHERE id = 1") == "first");
}

TEST_CASE("a file that is no database is named, and so is the cure") {
    const TempDir dir;
    const std::string path = dir.file("state.db");
    std::ofstream{path} << std::string(8192, 'j');
    const auto result = Database::open(path);
    REQUIRE(!result);
    CHECK(result.error().is(Errc::internal));
    CHECK_THAT(result.error().message(),
               Catch::Contains(path) && Catch::Contains("damaged") && Catch::Contains("backup"));
}

TEST_CASE("a damaged page is found when it is read, and the file and the cure are named") {
    const TempDir dir;
    const std::string path = dir.file("state.db");
    {
        const auto database = Database::open(path);
        REQUIRE(database);
        REQUIRE((*database)->migrate("notes", kFirst));
        auto insert = (*database)->prepare("INSERT INTO notes(text) VALUES(?)");
        REQUIRE(insert);
        for (int i = 0; i < 100; ++i)
            REQUIRE(insert->bind(1, std::string_view{std::string(900, 'x')}).run());
    }
    {
        std::fstream file{path, std::ios::in | std::ios::out | std::ios::binary};
        file.seekp(3 * 4096);
        file << std::string(16 * 4096, '\xee');
    }
    const auto database = Database::open(path);
    REQUIRE(database);
    auto rows = (*database)->prepare("SELECT text FROM notes");
    REQUIRE(rows);
    const auto result = rows->run();
    REQUIRE(!result);
    CHECK_THAT(result.error().message(), Catch::Contains(path) && Catch::Contains("backup"));
}

TEST_CASE("a reader in a transaction sees the state of its first read") {
    const TempDir dir;
    const auto writer = Database::open(dir.file("state.db"));
    REQUIRE(writer);
    REQUIRE((*writer)->migrate("notes", kFirst));
    const auto reader = Database::open(dir.file("state.db"));
    REQUIRE(reader);
    {
        auto snapshot = Transaction::begin_read(**reader);
        REQUIRE(snapshot);
        CHECK(number(**reader, "SELECT count(*) FROM notes") == 0);
        REQUIRE((*writer)->execute("INSERT INTO notes VALUES(1, 'new')"));
        CHECK(number(**reader, "SELECT count(*) FROM notes") == 0);
        REQUIRE(snapshot->commit());
    }
    CHECK(number(**reader, "SELECT count(*) FROM notes") == 1);
}

}  // namespace
}  // namespace sandboxd::ledger
