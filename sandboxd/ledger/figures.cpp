#include "sandboxd/ledger/figures.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace sandboxd::ledger {

namespace {

// What adds up. The other two of Counters are a maximum and a last value.
constexpr std::array kAdditive{&Counters::wall_ns,       &Counters::cpu_ns,
                               &Counters::memory_kib_ms, &Counters::disk_kib_ms,
                               &Counters::egress_bytes,  &Counters::gpu_ns};

std::uint64_t less(std::uint64_t a, std::uint64_t b) {
    return a > b ? a - b : 0;
}

template <class T>
T plus(T a, T b) {
    T out{};
    return __builtin_add_overflow(a, b, &out) ? std::numeric_limits<T>::max() : out;
}

template <class T>
void move_part(T& rest, T& part) {
    part = std::min(part, rest);
    rest -= part;
}

}  // namespace

Figures difference(const Figures& end, const Figures& begin) {
    Figures out = end;
    for (const auto field : kAdditive)
        out.counters.*field = less(end.counters.*field, begin.counters.*field);
    out.cost = std::max<policies::PicoMoney>(end.cost - begin.cost, 0);
    return out;
}

void add(Figures& sum, const Figures& part) {
    Counters& c = sum.counters;
    for (const auto field : kAdditive) c.*field = plus(c.*field, part.counters.*field);
    c.disk_bytes = plus(c.disk_bytes, part.counters.disk_bytes);
    c.memory_peak_bytes = std::max(c.memory_peak_bytes, part.counters.memory_peak_bytes);
    sum.cost = plus(sum.cost, part.cost);
}

void take(Figures& rest, Figures& part) {
    const std::uint64_t wall = part.counters.wall_ns;
    for (const auto field : kAdditive) move_part(rest.counters.*field, part.counters.*field);
    move_part(rest.counters.disk_bytes, part.counters.disk_bytes);
    move_part(rest.cost, part.cost);
    part.counters.wall_ns = wall;
    part.counters.memory_peak_bytes =
        std::min(part.counters.memory_peak_bytes, rest.counters.memory_peak_bytes);
}

Figures read_figures(const Statement& row, int first) {
    const auto at = [&](int i) { return static_cast<std::uint64_t>(row.integer(first + i)); };
    return Figures{Counters{at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)},
                   row.integer(first + 8), row.integer(first + 9)};
}

void bind_figures(Statement& statement, int first, const Figures& figures) {
    const Counters& c = figures.counters;
    const std::array values{c.wall_ns,    c.cpu_ns,      c.memory_peak_bytes, c.memory_kib_ms,
                            c.disk_bytes, c.disk_kib_ms, c.egress_bytes,      c.gpu_ns};
    for (const std::uint64_t value : values)
        statement.bind(first++, static_cast<std::int64_t>(value));
    statement.bind(first, figures.cost).bind(first + 1, figures.book);
}

}  // namespace sandboxd::ledger
