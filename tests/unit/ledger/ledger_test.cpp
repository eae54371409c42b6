#include "ledger_fixture.hpp"

namespace sandboxd::ledger {
namespace {

using namespace std::chrono_literals;

TEST_CASE("an empty ledger answers with nothing, in its own currency") {
    Book book;
    for (const GroupBy group : {GroupBy::tenant, GroupBy::sandbox, GroupBy::exec, GroupBy::day}) {
        const UsagePage page = book.query(group);
        CHECK(page.rows.empty());
        CHECK(page.next_cursor.empty());
        CHECK(page.total == Usage{{}, 0, "USD", "default@1"});
    }
    const auto last = book.ledger->last(SandboxId::trusted("sandbox0001"), 0);
    REQUIRE(last);
    CHECK(!*last);
}

TEST_CASE("a period begins with its first nanosecond and ends before its last") {
    Book book;
    book.append({make_sample("sandbox0001", "acme", 0, kNoon, 3),
                 make_sample("sandbox0001", "acme", 0, kNoon + 1s, 5),
                 make_sample("sandbox0001", "acme", 0, kNoon + 2s, 9)});
    const auto used = [&](WallTime from, WallTime to) {
        return cpu_s(book.query(GroupBy::tenant, from, to).total);
    };
    CHECK(used(kNoon, kNoon + 1s) == 3);
    CHECK(used(kNoon, kNoon + 1s + 1ns) == 5);
    CHECK(used(kNoon + 1ns, kNoon + 1s + 1ns) == 2);
    CHECK(used(kNoon + 1s, kNoon + 3s) == 6);
    CHECK(used(kNoon + 2s, kNoon + 2s) == 0);
    CHECK(used(kNoon + 3s, kNoon + 9s) == 0);
    CHECK(used(kNoon + 9s, kNoon) == 0);
    CHECK(used(WallTime::min(), WallTime::max()) == 9);
    CHECK(book.query(GroupBy::sandbox, kNoon + 3s, kNoon + 9s).rows.empty());
}

TEST_CASE("what a row counts belongs to the day of the row") {
    Book book;
    book.append({make_sample("sandbox0001", "acme", 0, kMidnight - 1s, 3),
                 make_sample("sandbox0001", "acme", 0, kMidnight, 5),
                 make_sample("sandbox0001", "acme", 0, kMidnight + 50h, 9),
                 make_sample("sandbox0002", "globex", 0, kMidnight, 1)});
    const UsagePage page = book.query(GroupBy::day);
    REQUIRE(page.rows.size() == 4);
    const std::array<std::tuple<const char*, const char*, std::uint64_t>, 4> expected{
        {{"2026-01-31", "acme", 3},
         {"2026-02-01", "acme", 2},
         {"2026-02-01", "globex", 1},
         {"2026-02-03", "acme", 4}}};
    for (std::size_t i = 0; i < expected.size(); ++i) {
        CHECK(page.rows[i].day == std::get<0>(expected[i]));
        CHECK(page.rows[i].tenant == std::get<1>(expected[i]));
        CHECK(cpu_s(page.rows[i].usage) == std::get<2>(expected[i]));
    }
    CHECK(cpu_s(page.total) == 10);
}

TEST_CASE("execs and idle add up to the sandbox, and idle is never negative") {
    Book book;
    book.append({make_sample("sandbox0001", "acme", 1, kNoon, 4),
                 make_sample("sandbox0001", "acme", 2, kNoon, 3),
                 make_sample("sandbox0001", "acme", 0, kNoon, 9)});
    UsagePage page = book.query(GroupBy::exec);
    REQUIRE(page.rows.size() == 3);
    CHECK(page.rows[0].exec == exec_id_from_number(1).str());
    CHECK(cpu_s(page.rows[0].usage) == 4);
    CHECK(cpu_s(page.rows[1].usage) == 3);
    CHECK(page.rows[2].exec == "idle");
    CHECK(cpu_s(page.rows[2].usage) == 2);

    // The exec was read a moment later than its sandbox, and seems to have used more.
    book.append({make_sample("sandbox0001", "acme", 1, kNoon + 1s, 4),
                 make_sample("sandbox0001", "acme", 2, kNoon + 1s, 8),
                 make_sample("sandbox0001", "acme", 0, kNoon + 1s, 10)});
    page = book.query(GroupBy::exec);
    REQUIRE(page.rows.size() == 3);
    CHECK(cpu_s(page.rows[0].usage) == 4);
    CHECK(cpu_s(page.rows[1].usage) == 6);
    CHECK(cpu_s(page.rows[2].usage) == 0);
    CHECK(cpu_s(page.total) == 10);
    CHECK(page.rows[2].usage.cost == 0);
}

TEST_CASE("the wall time of execs overlaps; idle is what is left of the sandbox's") {
    Book book{":memory:", [] {
                  policies::PriceBook prices;
                  prices.wall_second = 1'000'000;
                  return prices;
              }()};
    const auto wall = [](std::uint64_t exec, std::uint64_t seconds) {
        Sample s = make_sample("sandbox0001", "acme", exec, kNoon, 0);
        s.counters.wall_ns = seconds * 1'000'000'000;
        return s;
    };
    book.append({wall(1, 6), wall(2, 7), wall(0, 10)});
    const UsagePage page = book.query(GroupBy::exec);
    REQUIRE(page.rows.size() == 3);
    CHECK(page.rows[0].usage.counters.wall_ns == 6'000'000'000);
    CHECK(page.rows[1].usage.counters.wall_ns == 7'000'000'000);
    CHECK(page.rows[2].usage.counters.wall_ns == 0);
    // The price of a living sandbox is paid once, by the sandbox.
    CHECK(page.rows[0].usage.cost == 0);
    CHECK(page.rows[2].usage.cost == 10'000'000);
    CHECK(page.total.cost == 10'000'000);
}

TEST_CASE("an exec's row that is newer than its sandbox's counts with the sandbox's next row") {
    Book book;
    book.append({make_sample("sandbox0001", "acme", 1, kNoon, 1),
                 make_sample("sandbox0001", "acme", 0, kNoon, 1)});
    book.append({make_sample("sandbox0001", "acme", 1, kNoon + 500ms, 4, true)});
    UsagePage page = book.query(GroupBy::exec);
    REQUIRE(page.rows.size() == 2);
    CHECK(cpu_s(page.rows[0].usage) == 1);
    book.append({make_sample("sandbox0001", "acme", 0, kNoon + 1s, 4)});
    // The period begins after the exec's last row, and still the three seconds are the exec's.
    page = book.query(GroupBy::exec, kNoon + 700ms);
    REQUIRE(page.rows.size() == 2);
    CHECK(cpu_s(page.rows[0].usage) == 3);
    CHECK(cpu_s(page.rows[1].usage) == 0);
}

TEST_CASE("a repeated row changes no sum, and a lost one is made up for by the next") {
    Book book;
    const Sample first = make_sample("sandbox0001", "acme", 0, kNoon, 2);
    book.append({first, first});
    book.append({first});
    CHECK(cpu_s(book.query(GroupBy::tenant).total) == 2);
    book.append({make_sample("sandbox0001", "acme", 0, kNoon + 10s, 7)});
    CHECK(cpu_s(book.query(GroupBy::tenant).total) == 7);
}

TEST_CASE("a figure that goes back is refused, the whole batch with it, and named") {
    struct Case {
        const char* name;
        std::uint64_t Counters::*figure;
    };
    for (const Case& c :
         {Case{"wall_ns", &Counters::wall_ns}, Case{"cpu_ns", &Counters::cpu_ns},
          Case{"memory_peak_bytes", &Counters::memory_peak_bytes},
          Case{"memory_kib_ms", &Counters::memory_kib_ms},
          Case{"disk_kib_ms", &Counters::disk_kib_ms},
          Case{"egress_bytes", &Counters::egress_bytes}, Case{"gpu_ns", &Counters::gpu_ns}}) {
        INFO(c.name);
        Book book;
        Sample begin = make_sample("sandbox0001", "acme", 7, kNoon, 0);
        begin.counters.*c.figure = 10;
        book.append({begin});
        Sample good = begin;
        good.exec = 8;
        Sample back = begin;
        back.counters.*c.figure = 9;
        const std::array batch{good, back};
        const auto result = book.ledger->append(batch);
        REQUIRE(!result);
        CHECK(result.error().is(Errc::conflict));
        CHECK_THAT(result.error().message(), Catch::Contains("sandbox0001") &&
                                                 Catch::Contains(c.name) &&
                                                 Catch::Contains(exec_id_from_number(7).str()));
        CHECK(book.number("SELECT count(*) FROM journal") == 1);
        const auto other = book.ledger->last(good.sandbox, 8);
        REQUIRE(other);
        CHECK(!*other);
        book.append({good, begin});  // and the ledger goes on
    }
}

TEST_CASE("the disk may shrink: its size is a last value") {
    Book book;
    Sample s = make_sample("sandbox0001", "acme", 0, kNoon, 0);
    s.counters.disk_bytes = 100;
    book.append({s});
    s.time += 1s;
    s.counters.disk_bytes = 40;
    book.append({s});
    CHECK(book.query(GroupBy::sandbox).rows.at(0).usage.counters.disk_bytes == 40);
}

TEST_CASE("a living sandbox can't change its tenant") {
    Book book;
    book.append({make_sample("sandbox0001", "acme", 0, kNoon, 1)});
    const std::array batch{make_sample("sandbox0001", "globex", 0, kNoon + 1s, 2)};
    const auto result = book.ledger->append(batch);
    REQUIRE(!result);
    CHECK(result.error().is(Errc::conflict));
    CHECK_THAT(result.error().message(), Catch::Contains("acme"));
}

TEST_CASE("an id that is used again after its end begins a new life, also for another tenant") {
    Book book;
    book.append({make_sample("sandbox0001", "acme", 1, kNoon, 5, true),
                 make_sample("sandbox0001", "acme", 0, kNoon, 6, true)});
    book.append({make_sample("sandbox0001", "acme", 0, kNoon + 60s, 1),
                 make_sample("sandbox0001", "acme", 1, kNoon + 61s, 1),
                 make_sample("sandbox0001", "acme", 0, kNoon + 61s, 2, true)});
    book.append({make_sample("sandbox0001", "globex", 0, kNoon + 120s, 4)});
    UsagePage page = book.query(GroupBy::tenant);
    REQUIRE(page.rows.size() == 2);
    CHECK(cpu_s(page.rows[0].usage) == 8);
    CHECK(cpu_s(page.rows[1].usage) == 4);
    page = book.query(GroupBy::sandbox);
    REQUIRE(page.rows.size() == 3);
    CHECK(page.rows[2].tenant == "globex");
    page = book.query(GroupBy::exec);
    CHECK(page.rows.size() == 5);
    const auto last = book.ledger->last(SandboxId::trusted("sandbox0001"), 0);
    REQUIRE(last);
    REQUIRE(*last);
    CHECK((*last)->cpu_ns == 4'000'000'000);
}

TEST_CASE("a late row of a sandbox that has ended is not charged from zero") {
    Book book;
    book.append({make_sample("sandbox0001", "acme", 1, kNoon, 5),
                 make_sample("sandbox0001", "acme", 0, kNoon, 6, true)});
    book.append({make_sample("sandbox0001", "acme", 1, kNoon + 1s, 5, true)});
    book.append({make_sample("sandbox0001", "acme", 0, kNoon + 1s, 6, true)});
    const UsagePage page = book.query(GroupBy::sandbox);
    REQUIRE(page.rows.size() == 1);
    CHECK(cpu_s(page.total) == 6);
}

TEST_CASE("a wall clock that is set back loses nothing") {
    Book book;
    book.append({make_sample("sandbox0001", "acme", 0, kNoon, 5)});
    book.append({make_sample("sandbox0001", "acme", 0, kNoon - 3h, 7)});
    CHECK(cpu_s(book.query(GroupBy::tenant, kNoon - 6h, kNoon).total) == 0);
    CHECK(cpu_s(book.query(GroupBy::tenant, kNoon, kNoon + 1s).total) == 7);
}

TEST_CASE("figures that SQLite can't hold are refused, not stored as something else") {
    Book book;
    Sample s = make_sample("sandbox0001", "acme", 0, kNoon, 0);
    s.counters.egress_bytes = 1ULL << 63;
    auto result = book.ledger->append(std::span{&s, 1});
    REQUIRE(!result);
    CHECK(result.error().is(Errc::invalid_argument));
    CHECK_THAT(result.error().message(), Catch::Contains("egress_bytes"));
    s.counters.egress_bytes = (1ULL << 63) - 1;
    REQUIRE(book.ledger->append(std::span{&s, 1}));
    s.sandbox = SandboxId{};
    result = book.ledger->append(std::span{&s, 1});
    REQUIRE(!result);
    CHECK(result.error().is(Errc::invalid_argument));
}

TEST_CASE("a query names a tenant, a sandbox, both or neither") {
    Book book;
    book.append({make_sample("sandbox0001", "acme", 0, kNoon, 1),
                 make_sample("sandbox0002", "acme", 0, kNoon, 2),
                 make_sample("sandbox0003", "globex", 0, kNoon, 4)});
    const auto used = [&](std::optional<TenantId> tenant, std::optional<SandboxId> sandbox) {
        UsageQuery query;
        query.from = kNoon;
        query.to = kNoon + 1h;
        query.tenant = std::move(tenant);
        query.sandbox = std::move(sandbox);
        const auto page = book.ledger->query(query);
        REQUIRE(page);
        return cpu_s(page->total);
    };
    CHECK(used({}, {}) == 7);
    CHECK(used(TenantId::trusted("acme"), {}) == 3);
    CHECK(used({}, SandboxId::trusted("sandbox0003")) == 4);
    CHECK(used(TenantId::trusted("acme"), SandboxId::trusted("sandbox0002")) == 2);
    CHECK(used(TenantId::trusted("acme"), SandboxId::trusted("sandbox0003")) == 0);
}

TEST_CASE("a sandbox whose first row is older than its exec's is found in the hour of that row") {
    Book book;
    book.append({make_sample("sandbox0001", "acme", 1, kNoon, 1)});
    book.append(
        {make_sample("sandbox0001", "acme", 0, kNoon - 2h, 2)});  // the wall clock was set back
    CHECK(cpu_s(book.query(GroupBy::tenant, kNoon - 3h, kNoon - 1h).total) == 2);
}

TEST_CASE("an exec that runs over hours is found in each of them") {
    Book book;
    for (std::uint64_t hour = 0; hour < 4; ++hour) {
        const WallTime time = kNoon + std::chrono::hours{hour};
        book.append({make_sample("sandbox0001", "acme", 1, time, hour),
                     make_sample("sandbox0001", "acme", 0, time, hour)});
    }
    const UsagePage page = book.query(GroupBy::exec, kNoon + 2h, kNoon + 3h);
    REQUIRE(page.rows.size() == 2);
    CHECK(cpu_s(page.rows[0].usage) == 1);
}

}  // namespace
}  // namespace sandboxd::ledger
