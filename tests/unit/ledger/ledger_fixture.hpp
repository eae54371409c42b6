#pragma once

#include <catch2/catch.hpp>
#include <initializer_list>
#include <memory>
#include <string>

#include "sandboxd/ledger/ledger.hpp"

namespace sandboxd::ledger {

inline constexpr WallTime kNoon =
    std::chrono::sys_days{std::chrono::year{2026} / 1 / 31} + std::chrono::hours{12};
inline constexpr WallTime kMidnight = kNoon + std::chrono::hours{12};

inline policies::PriceBook cpu_book(std::uint64_t per_second, std::uint32_t version = 1) {
    policies::PriceBook book;
    book.version = version;
    book.cpu_second = per_second;
    return book;
}

inline Sample make_sample(const char* sandbox, const char* tenant, std::uint64_t exec,
                          WallTime time, std::uint64_t cpu_s, bool final = false) {
    Counters counters;
    counters.cpu_ns = cpu_s * 1'000'000'000;
    return {SandboxId::trusted(sandbox), TenantId::trusted(tenant), exec, time, counters, final};
}

struct Book {
    std::unique_ptr<Database> database;
    std::unique_ptr<Ledger> ledger;

    explicit Book(const std::string& path = ":memory:",
                  policies::PriceBook book = cpu_book(1'000'000), NodeIdentity node = {}) {
        auto opened = Database::open(path);
        REQUIRE(opened);
        database = *std::move(opened);
        auto made = Ledger::open(*database, node, std::move(book));
        REQUIRE(made);
        ledger = *std::move(made);
    }

    void append(std::initializer_list<Sample> samples) {
        REQUIRE(ledger->append(std::span{samples.begin(), samples.size()}));
    }
    UsagePage query(GroupBy group, WallTime from = kNoon - std::chrono::hours{24},
                    WallTime to = kNoon + std::chrono::hours{240}) {
        UsageQuery query;
        query.group_by = group;
        query.from = from;
        query.to = to;
        auto page = ledger->query(query);
        REQUIRE(page);
        return *std::move(page);
    }
    std::int64_t number(const char* sql) {
        auto statement = database->prepare(sql);
        REQUIRE(statement);
        REQUIRE(statement->step());
        return statement->integer(0);
    }
};

inline std::uint64_t cpu_s(const Usage& usage) {
    return usage.counters.cpu_ns / 1'000'000'000;
}

}  // namespace sandboxd::ledger
