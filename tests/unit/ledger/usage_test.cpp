#include "sandboxd/ledger/usage.hpp"

#include <catch2/catch.hpp>
#include <limits>
#include <random>

namespace sandboxd::ledger {
namespace {

using policies::PicoMoney;
using policies::PriceBook;

PriceBook with(std::uint64_t PriceBook::*price, std::uint64_t pico) {
    PriceBook book;
    book.*price = pico;
    return book;
}

TEST_CASE("one unit of each kind costs its price") {
    struct Case {
        std::uint64_t PriceBook::*price;
        std::uint64_t Counters::*used;
        std::uint64_t unit;
    };
    constexpr std::uint64_t kGibSecond = 1000ULL << 20;
    for (const Case& c : {Case{&PriceBook::cpu_second, &Counters::cpu_ns, 1'000'000'000},
                          Case{&PriceBook::memory_gib_second, &Counters::memory_kib_ms, kGibSecond},
                          Case{&PriceBook::wall_second, &Counters::wall_ns, 1'000'000'000},
                          Case{&PriceBook::disk_gib_second, &Counters::disk_kib_ms, kGibSecond},
                          Case{&PriceBook::egress_gib, &Counters::egress_bytes, 1ULL << 30},
                          Case{&PriceBook::gpu_second, &Counters::gpu_ns, 1'000'000'000}}) {
        Counters counters;
        counters.*c.used = c.unit;
        CHECK(cost_of(counters, with(c.price, 14'000'000)) == 14'000'000);
        counters.*c.used = c.unit * 1000 + c.unit / 2;
        CHECK(cost_of(counters, with(c.price, 14'000'001)) == 14'007'001'000);
        CHECK(cost_of(counters, PriceBook{}) == 0);
    }
}

TEST_CASE("peak and size of the disk are not priced") {
    PriceBook book{"all", 1, "USD", 1, 1, 1, 1, 1, 1};
    Counters counters;
    counters.memory_peak_bytes = 1ULL << 40;
    counters.disk_bytes = 1ULL << 40;
    CHECK(cost_of(counters, book) == 0);
}

TEST_CASE("the total is rounded down once, not each of its parts") {
    PriceBook book;
    book.cpu_second = 1;
    book.gpu_second = 1;
    book.memory_gib_second = 1;
    Counters counters;
    counters.cpu_ns = 500'000'000;
    counters.gpu_ns = 499'999'999;
    CHECK(cost_of(counters, book) == 0);
    // Half a pico and half a pico are one, and units that have no common divisor but 2^20 add up
    // just as well.
    counters.gpu_ns = 500'000'000;
    CHECK(cost_of(counters, book) == 1);
    counters.gpu_ns = 250'000'000;
    counters.memory_kib_ms = 250ULL << 20;
    CHECK(cost_of(counters, book) == 1);
    counters.memory_kib_ms -= 1;
    CHECK(cost_of(counters, book) == 0);
}

TEST_CASE("a cost stays at the largest integer instead of wrapping") {
    constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
    const PriceBook dear{"dear", 1, "USD", kMost, kMost, kMost, kMost, kMost, kMost};
    const Counters all{kMost, kMost, kMost, kMost, kMost, kMost, kMost, kMost};
    CHECK(cost_of(all, dear) == std::numeric_limits<PicoMoney>::max());
    // 999,999 per second for 584 years.
    Counters long_run;
    long_run.cpu_ns = kMost;
    CHECK(cost_of(long_run, with(&PriceBook::cpu_second, 999'999'999'999'999'999)) ==
          std::numeric_limits<PicoMoney>::max());
    CHECK(cost_of(long_run, with(&PriceBook::cpu_second, 1)) == 18'446'744'073);
}

TEST_CASE("the cost never falls as counters grow, and parts never cost more than the whole") {
    std::mt19937_64 random{20260131};
    const auto below = [&](std::uint64_t end) {
        return std::uniform_int_distribution<std::uint64_t>{0, end - 1}(random);
    };
    for (int i = 0; i < 2000; ++i) {
        const PriceBook book{"odd",
                             1,
                             "USD",
                             below(1'000'000'000),
                             below(1'000'000'000),
                             below(1000),
                             below(1'000'000),
                             below(1'000'000'000'000),
                             below(1'000'000'000)};
        const auto some = [&] {
            return Counters{
                below(1ULL << 40), below(1ULL << 40), 0, below(1ULL << 40), 0, below(1ULL << 40),
                below(1ULL << 36), below(1ULL << 40)};
        };
        const Counters a = some();
        const Counters b = some();
        const Counters both{a.wall_ns + b.wall_ns,
                            a.cpu_ns + b.cpu_ns,
                            0,
                            a.memory_kib_ms + b.memory_kib_ms,
                            0,
                            a.disk_kib_ms + b.disk_kib_ms,
                            a.egress_bytes + b.egress_bytes,
                            a.gpu_ns + b.gpu_ns};
        CHECK(cost_of(both, book) >= cost_of(a, book));
        const PicoMoney apart = cost_of(a, book) + cost_of(b, book);
        CHECK(cost_of(both, book) >= apart);
        CHECK(cost_of(both, book) <= apart + 1);
    }
}

TEST_CASE("a priced usage names its currency and its book") {
    PriceBook book = with(&PriceBook::cpu_second, 14'000'000);
    book.name = "mine";
    book.version = 7;
    book.currency = "EUR";
    Counters counters;
    counters.cpu_ns = 2'000'000'000;
    CHECK(price(counters, book) == Usage{counters, 28'000'000, "EUR", "mine@7"});
}

TEST_CASE("an exec pays for what it used, and not for the time that its sandbox lived") {
    PriceBook book = with(&PriceBook::cpu_second, 14'000'000);
    book.wall_second = 1'000'000;
    Counters counters;
    counters.cpu_ns = 1'000'000'000;
    counters.wall_ns = 5'000'000'000;
    CHECK(cost_of(counters, book) == 19'000'000);
    CHECK(exec_cost_of(counters, book) == 14'000'000);
    const Usage usage = price_exec(counters, book);
    CHECK(usage.cost == 14'000'000);
    CHECK(usage.counters == counters);
}

}  // namespace
}  // namespace sandboxd::ledger
