#pragma once

#include <cstdint>
#include <string>

#include "policies/price_book.hpp"

namespace sandboxd::ledger {

// Cumulative figures of one sandbox or one exec since it began. Integers only; sums are exact.
struct Counters {
    std::uint64_t wall_ns = 0;
    std::uint64_t cpu_ns = 0;
    std::uint64_t memory_peak_bytes = 0;  // a maximum, not a sum
    std::uint64_t memory_kib_ms = 0;      // integral of memory over time
    std::uint64_t disk_bytes = 0;         // the last value, not a sum
    std::uint64_t disk_kib_ms = 0;        // integral of disk over time
    std::uint64_t egress_bytes = 0;
    std::uint64_t gpu_ns = 0;
    bool operator==(const Counters&) const = default;
};

// What the answers call `usage`.
struct Usage {
    Counters counters;
    policies::PicoMoney cost = 0;
    std::string currency;
    std::string
        price_book;  // name@version; several, comma-separated, for a sum over different ones
    bool operator==(const Usage&) const = default;
};

// The price of a sandbox's cumulative counters: rounded down once, on the total. What a period
// costs is cost(end) - cost(begin), so that periods add up to the total exactly. Never falls as
// counters grow; at the largest PicoMoney it stays there.
[[nodiscard]] policies::PicoMoney cost_of(const Counters& counters,
                                          const policies::PriceBook& book);
[[nodiscard]] Usage price(const Counters& counters, const policies::PriceBook& book);

// The same for one exec. Wall time has a price per living sandbox, and its execs overlap: an exec's
// has none.
[[nodiscard]] policies::PicoMoney exec_cost_of(const Counters& counters,
                                               const policies::PriceBook& book);
[[nodiscard]] Usage price_exec(const Counters& counters, const policies::PriceBook& book);

}  // namespace sandboxd::ledger
