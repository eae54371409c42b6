#include "sandboxd/ledger/usage.hpp"

#include <limits>

namespace sandboxd::ledger {

namespace {

using Wide = unsigned __int128;

}  // namespace

policies::PicoMoney cost_of(const Counters& c, const policies::PriceBook& book) {
    constexpr Wide kNs = 1'000'000'000;                  // per second
    constexpr Wide kKiBMs = Wide{1000} << 20;            // KiB·ms per GiB·s
    constexpr Wide kGiB = 1ULL << 30;
    // Each kind of use is rounded down once, on its cumulative figure. The product is split so that it stays below 128 bits.
    const auto part = [](Wide quantity, Wide price, Wide unit) { return quantity / unit * price + quantity % unit * price / unit; };
    const Wide sum = part(c.cpu_ns, book.cpu_second, kNs) + part(c.memory_kib_ms, book.memory_gib_second, kKiBMs) +
                     part(c.disk_kib_ms, book.disk_gib_second, kKiBMs) + part(c.wall_ns, book.wall_second, kNs) +
                     part(c.gpu_ns, book.gpu_second, kNs) + part(c.egress_bytes, book.egress_gib, kGiB);
    constexpr Wide kMost = std::numeric_limits<policies::PicoMoney>::max();
    return static_cast<policies::PicoMoney>(sum < kMost ? sum : kMost);
}

Usage price(const Counters& counters, const policies::PriceBook& book) {
    return Usage{counters, cost_of(counters, book), book.currency, book.id()};
}

}  // namespace sandboxd::ledger
