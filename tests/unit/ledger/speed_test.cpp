// Measurements, not run by default: ledger_unit_test '[.speed]' -s
#include <catch2/catch.hpp>
#include <chrono>
#include <iostream>

#include "sandboxd/ledger/ledger.hpp"
#include "temp_dir.hpp"

namespace sandboxd::ledger {
namespace {

using namespace std::chrono_literals;

constexpr WallTime kStart = std::chrono::sys_days{std::chrono::year{2026} / 1 / 31};

double milliseconds(std::chrono::steady_clock::time_point since) {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - since)
        .count();
}

std::vector<Sample> second(std::uint64_t n, std::size_t sandboxes) {
    std::vector<Sample> out;
    for (std::size_t i = 0; i < sandboxes; ++i) {
        Counters c;
        c.wall_ns = n * 1'000'000'000;
        c.cpu_ns = n * (300'000'000 + i);
        c.memory_peak_bytes = 100 << 20;
        c.memory_kib_ms = n * 100'000'000;
        const auto id = SandboxId::trusted("sandbox" + std::to_string(1000 + i));
        const auto tenant = TenantId::trusted("tenant" + std::to_string(i % 7));
        const WallTime time = kStart + std::chrono::seconds{n};
        out.push_back({id, tenant, 1, time, c, false});
        out.push_back({id, tenant, 0, time, c, false});
    }
    return out;
}

TEST_CASE("a second of 100 sandboxes with an exec each, and queries over an hour of them",
          "[.speed]") {
    const TempDir dir;
    auto database = Database::open(dir.file("state.db"));
    REQUIRE(database);
    policies::PriceBook book;
    book.cpu_second = 14'000'000;
    auto ledger = Ledger::open(**database, {}, book);
    REQUIRE(ledger);
    constexpr std::uint64_t kSeconds = 1000;
    double worst = 0;
    const auto begin = std::chrono::steady_clock::now();
    for (std::uint64_t n = 1; n <= kSeconds; ++n) {
        const auto samples = second(n, 100);
        const auto one = std::chrono::steady_clock::now();
        REQUIRE((*ledger)->append(samples));
        worst = std::max(worst, milliseconds(one));
    }
    std::cout << "append of 200 samples: mean " << milliseconds(begin) / kSeconds << " ms, worst "
              << worst << " ms\n";
    std::cout << "file: " << std::filesystem::file_size(dir.file("state.db")) / (200 * kSeconds)
              << " bytes per row\n";
    const auto ask = [&](const char* when) {
        for (const GroupBy group :
             {GroupBy::tenant, GroupBy::sandbox, GroupBy::exec, GroupBy::day}) {
            UsageQuery query;
            query.group_by = group;
            query.from = kStart + 123s + 1ns;
            query.to = kStart + 877s;
            const auto one = std::chrono::steady_clock::now();
            REQUIRE((*ledger)->query(query));
            std::cout << when << " query of 200000 rows, group " << static_cast<int>(group) << ": "
                      << milliseconds(one) << " ms\n";
        }
    };
    ask("journal");
    const auto one = std::chrono::steady_clock::now();
    REQUIRE((*ledger)->compact(kStart + 2h));
    std::cout << "compact: " << milliseconds(one) << " ms\n";
    ask("packed");
    auto size = (*database)->prepare("SELECT sum(length(rows)) FROM packed");
    REQUIRE(size);
    REQUIRE(size->step());
    std::cout << "packed: " << size->integer(0) / static_cast<std::int64_t>(200 * kSeconds)
              << " bytes per row\n";
}

}  // namespace
}  // namespace sandboxd::ledger
