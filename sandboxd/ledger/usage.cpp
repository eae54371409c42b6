#include "sandboxd/ledger/usage.hpp"

#include <array>
#include <limits>

namespace sandboxd::ledger {

namespace {

using Wide = unsigned __int128;

constexpr Wide kNanoseconds = 1'000'000'000;  // per second
constexpr Wide kKibMs = Wide{1000} << 20;     // KiB·ms per GiB·s
constexpr Wide kGib = Wide{1} << 30;
// The least common multiple of the three: 2^30 · 5^9. Over it, terms in different units add up as
// integers.
constexpr Wide kCommon = (Wide{1} << 30) * 1'953'125;
static_assert(kCommon % kNanoseconds == 0 && kCommon % kKibMs == 0 && kCommon % kGib == 0);

struct Term {
    std::uint64_t quantity;
    std::uint64_t price;
    Wide unit;
};

}  // namespace

policies::PicoMoney cost_of(const Counters& c, const policies::PriceBook& book) {
    const std::array<Term, 6> terms{{{c.cpu_ns, book.cpu_second, kNanoseconds},
                                     {c.memory_kib_ms, book.memory_gib_second, kKibMs},
                                     {c.wall_ns, book.wall_second, kNanoseconds},
                                     {c.disk_kib_ms, book.disk_gib_second, kKibMs},
                                     {c.egress_bytes, book.egress_gib, kGib},
                                     {c.gpu_ns, book.gpu_second, kNanoseconds}}};
    // Whole units and the rest are kept apart: a full quantity over kCommon could take 150 bits. A
    // rest is below one unit, so its term stays below price · kCommon, which is under 2^115.
    Wide whole = 0;
    Wide rest = 0;
    for (const Term& term : terms) {
        whole += Wide{term.quantity} / term.unit * term.price;
        rest += Wide{term.quantity} % term.unit * term.price * (kCommon / term.unit);
    }
    const Wide total = whole + rest / kCommon;
    constexpr Wide kMost = std::numeric_limits<policies::PicoMoney>::max();
    return static_cast<policies::PicoMoney>(total < kMost ? total : kMost);
}

Usage price(const Counters& counters, const policies::PriceBook& book) {
    return Usage{counters, cost_of(counters, book), book.currency, book.id()};
}

policies::PicoMoney exec_cost_of(const Counters& counters, const policies::PriceBook& book) {
    Counters without_wall = counters;
    without_wall.wall_ns = 0;
    return cost_of(without_wall, book);
}

Usage price_exec(const Counters& counters, const policies::PriceBook& book) {
    return Usage{counters, exec_cost_of(counters, book), book.currency, book.id()};
}

}  // namespace sandboxd::ledger
