// What happens to a ledger over time: new prices, compaction, a full disk, pages of growing lists.
#include <algorithm>
#include <limits>

#include "ledger_fixture.hpp"
#include "temp_dir.hpp"

namespace sandboxd::ledger {
namespace {

using namespace std::chrono_literals;

TEST_CASE("sums over many sandboxes stay at the largest number rather than wrapping") {
    Book book;
    for (const char* id : {"sandbox0001", "sandbox0002", "sandbox0003"}) {
        Sample s = make_sample(id, "acme", 0, kNoon, 0);
        s.counters.memory_kib_ms = (1ULL << 63) - 1;
        book.append({s});
    }
    CHECK(book.query(GroupBy::tenant).total.counters.memory_kib_ms ==
          std::numeric_limits<std::uint64_t>::max());
}

TEST_CASE("a new price book changes no cost of the past") {
    const TempDir dir;
    {
        Book book{dir.file("state.db"), cpu_book(1'000'000, 1)};
        book.append({make_sample("sandbox0001", "acme", 0, kNoon, 10)});
        CHECK(book.query(GroupBy::sandbox).total.cost == 10'000'000);
    }
    Book book{dir.file("state.db"), cpu_book(3'000'000, 2)};
    UsagePage page = book.query(GroupBy::sandbox);
    CHECK(page.total.cost == 10'000'000);
    CHECK(page.total.price_book == "default@1");
    book.append({make_sample("sandbox0001", "acme", 0, kNoon + 1s, 12),
                 make_sample("sandbox0002", "acme", 0, kNoon + 1s, 1)});
    page = book.query(GroupBy::sandbox);
    CHECK(page.rows.at(0).usage.cost == 16'000'000);
    CHECK(page.rows.at(1).usage.cost == 3'000'000);
    CHECK(page.rows.at(1).usage.price_book == "default@2");
    CHECK(book.query(GroupBy::sandbox, kNoon + 1ns).total.cost == 9'000'000);
    CHECK(book.query(GroupBy::sandbox, kNoon, kNoon + 1ns).total.cost == 10'000'000);
    CHECK(book.ledger->price_book().version == 2);
    // A sum over lives that different books priced names both.
    book.append({make_sample("sandbox0001", "acme", 0, kNoon + 2s, 12, true)});
    CHECK(book.query(GroupBy::tenant, kNoon, kNoon + 1ns).total.price_book == "default@1");
}

TEST_CASE("a name and a version of a price book mean one thing, and a ledger has one currency") {
    const TempDir dir;
    { const Book book{dir.file("state.db"), cpu_book(1'000'000)}; }
    const auto database = Database::open(dir.file("state.db"));
    REQUIRE(database);
    const auto edited = Ledger::open(**database, {}, cpu_book(2'000'000));
    REQUIRE(!edited);
    CHECK(edited.error().is(Errc::conflict));
    CHECK_THAT(edited.error().message(),
               Catch::Contains("default@1") && Catch::Contains("raise the version"));
    auto euros = cpu_book(1'000'000, 2);
    euros.currency = "EUR";
    const auto foreign = Ledger::open(**database, {}, euros);
    REQUIRE(!foreign);
    CHECK(foreign.error().is(Errc::incompatible));
    CHECK_THAT(foreign.error().message(), Catch::Contains("EUR") && Catch::Contains("USD"));
    CHECK(Ledger::open(**database, {}, cpu_book(1'000'000)));
}

TEST_CASE("pages join without a gap or a repetition, also when rows come between them") {
    Book book;
    for (int i = 0; i < 10; ++i) {
        const std::string id = "sandbox00" + std::to_string(10 + i * 2);
        book.append({make_sample(id.c_str(), "acme", 0, kNoon, 1)});
    }
    UsageQuery query;
    query.from = kNoon;
    query.to = kNoon + 1h;
    query.group_by = GroupBy::sandbox;
    query.limit = 3;
    std::vector<std::string> seen;
    for (int pages = 0;; ++pages) {
        REQUIRE(pages < 5);
        const auto page = book.ledger->query(query);
        REQUIRE(page);
        CHECK(cpu_s(page->total) == 10 + static_cast<std::uint64_t>(pages));
        for (const UsageRow& row : page->rows) seen.push_back(row.sandbox);
        query.cursor = page->next_cursor;
        if (query.cursor.empty()) break;
        // Before what the next page begins with: it must shift nothing.
        const std::string early = "sandbox000" + std::to_string(pages);
        book.append({make_sample(early.c_str(), "acme", 0, kNoon, 1)});
    }
    CHECK(seen.size() == 10);
    CHECK(std::is_sorted(seen.begin(), seen.end()));
}

TEST_CASE("a page that ends with the last row has no cursor, and a strange cursor is refused") {
    Book book;
    book.append({make_sample("sandbox0001", "acme", 0, kNoon, 1),
                 make_sample("sandbox0002", "acme", 0, kNoon, 1)});
    UsageQuery query;
    query.from = kNoon;
    query.to = kNoon + 1h;
    query.group_by = GroupBy::sandbox;
    query.limit = 2;
    auto page = book.ledger->query(query);
    REQUIRE(page);
    CHECK(page->rows.size() == 2);
    CHECK(page->next_cursor.empty());
    query.cursor = "rows please";
    page = book.ledger->query(query);
    REQUIRE(!page);
    CHECK(page.error().is(Errc::invalid_argument));
    query.cursor.clear();
    query.limit = 0;
    page = book.ledger->query(query);
    REQUIRE(!page);
    CHECK(page.error().is(Errc::invalid_argument));
}

TEST_CASE(
    "compaction empties the journal of whole hours, gives no number twice, and changes no answer") {
    const TempDir dir;
    const NodeIdentity node{0, 0, 3, 9};
    UsagePage before;
    {
        Book book{dir.file("state.db"), cpu_book(1'000'000), node};
        for (std::uint64_t i = 0; i < 100; ++i) {
            book.append(
                {make_sample("sandbox0001", "acme", 0, kNoon + std::chrono::minutes{i}, i)});
        }
        before = book.query(GroupBy::sandbox, kNoon + 17min + 1s, kNoon + 43min + 1s);
        CHECK(book.number("SELECT count(*) FROM journal WHERE node = 3 AND epoch = 9") == 100);
        REQUIRE(book.ledger->compact(kNoon + 119min));
        CHECK(book.number("SELECT count(*) FROM journal") == 40);
        REQUIRE(book.ledger->compact(kNoon + 120min));
        CHECK(book.number("SELECT count(*) FROM journal") == 0);
        CHECK(book.number("SELECT count(*) FROM packed") == 2);
    }
    Book book{dir.file("state.db"), cpu_book(1'000'000), node};
    const UsagePage after = book.query(GroupBy::sandbox, kNoon + 17min + 1s, kNoon + 43min + 1s);
    REQUIRE(after.rows.size() == 1);
    CHECK(after.rows[0].usage == before.rows[0].usage);
    CHECK(cpu_s(after.total) == 26);
    book.append({make_sample("sandbox0001", "acme", 0, kNoon + 3h, 200)});
    CHECK(book.number("SELECT seq FROM journal") == 101);
    CHECK(cpu_s(book.query(GroupBy::sandbox).total) == 200);
    REQUIRE(book.ledger->compact(WallTime::min()));
    REQUIRE(book.ledger->compact(WallTime::max()));
    CHECK(cpu_s(book.query(GroupBy::sandbox).total) == 200);
}

TEST_CASE("rows that come for an hour that is packed already are packed behind its rows") {
    Book book;
    book.append({make_sample("sandbox0001", "acme", 0, kNoon + 10min, 1),
                 make_sample("sandbox0001", "acme", 0, kNoon + 20min, 3)});
    REQUIRE(book.ledger->compact(kNoon + 1h));
    book.append({make_sample("sandbox0001", "acme", 0, kNoon + 30min, 7)});
    const auto used = [&](WallTime from, WallTime to) {
        return cpu_s(book.query(GroupBy::tenant, from, to).total);
    };
    const auto check = [&] {
        CHECK(used(kNoon, kNoon + 15min) == 1);
        CHECK(used(kNoon + 15min, kNoon + 25min) == 2);
        CHECK(used(kNoon + 25min, kNoon + 35min) == 4);
    };
    check();
    REQUIRE(book.ledger->compact(kNoon + 1h));
    CHECK(book.number("SELECT count(*) FROM journal") == 0);
    check();
}

TEST_CASE("compaction goes in steps, and says when there is nothing left") {
    Book book;
    for (std::uint64_t hour = 0; hour < 20; ++hour) {
        book.append(
            {make_sample("sandbox0001", "acme", 0, kNoon + std::chrono::hours{hour}, hour)});
    }
    int steps = 0;
    for (bool more = true; more; ++steps) {
        const auto result = book.ledger->compact_some(kNoon + 15h);
        REQUIRE(result);
        more = *result;
    }
    CHECK(steps > 1);
    CHECK(book.number("SELECT count(*) FROM journal") == 5);
    CHECK(cpu_s(book.query(GroupBy::tenant, kNoon, kNoon + 48h).total) == 19);
}

TEST_CASE("a full disk refuses an append and the ledger goes on when there is space again") {
    const TempDir dir;
    Book book{dir.file("state.db")};
    book.append({make_sample("sandbox0001", "acme", 0, kNoon, 1)});
    REQUIRE(book.database->execute("PRAGMA max_page_count = 1"));  // of what it has now
    std::vector<Sample> many;
    for (std::uint64_t i = 0; i < 2000; ++i)
        many.push_back(make_sample("sandbox0001", "acme", 1 + i, kNoon + 1s, i));
    many.push_back(make_sample("sandbox0001", "acme", 0, kNoon + 1s, 9));
    const auto full = book.ledger->append(many);
    REQUIRE(!full);
    CHECK(full.error().is(Errc::disk_full));
    CHECK(cpu_s(book.query(GroupBy::tenant).total) == 1);
    REQUIRE(book.database->execute("PRAGMA max_page_count = 1000000"));
    REQUIRE(book.ledger->append(many));
    CHECK(cpu_s(book.query(GroupBy::tenant).total) == 9);
    CHECK(book.number("SELECT max(seq) - count(*) FROM journal") == 0);
}

}  // namespace
}  // namespace sandboxd::ledger
