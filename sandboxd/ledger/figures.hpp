#pragma once

#include <cstdint>
#include <string_view>

#include "policies/price_book.hpp"
#include "sandboxd/core/clock.hpp"
#include "sandboxd/ledger/database.hpp"
#include "sandboxd/ledger/usage.hpp"

// Private to the ledger: cumulative figures with their money, and the arithmetic of periods and
// sums.
namespace sandboxd::ledger {

// What had been used up to some row, and what it cost. `cost` is cumulative too, and each increment
// was priced by the book of its time: a new price book changes no old cost.
struct Figures {
    Counters counters;
    policies::PicoMoney cost = 0;
    std::int64_t book = 0;  // of the last increment; 0: nothing was priced yet
    bool operator==(const Figures&) const = default;
};

// A row of the journal, or of what was made from it.
struct Reading {
    std::int64_t time = 0;  // nanoseconds since 1970
    Figures figures;
    bool operator==(const Reading&) const = default;
};

inline constexpr std::int64_t kNanosPerHour = 3'600'000'000'000;
inline constexpr std::int64_t kHoursPerDay = 24;

[[nodiscard]] constexpr std::int64_t nanos(WallTime time) noexcept {
    return time.time_since_epoch().count();
}
// Both round down, also before 1970.
[[nodiscard]] constexpr std::int64_t hour_of(std::int64_t time) noexcept {
    return time / kNanosPerHour - (time % kNanosPerHour < 0 ? 1 : 0);
}
[[nodiscard]] constexpr std::int64_t day_of_hour(std::int64_t hour) noexcept {
    return hour / kHoursPerDay - (hour % kHoursPerDay < 0 ? 1 : 0);
}

// What a period used: end - begin. Peak and disk_bytes are the end's (a maximum, a last value).
[[nodiscard]] Figures difference(const Figures& end, const Figures& begin);
// Adds what another sandbox or period used. Peak: the larger. Stays at the largest integer rather
// than wrapping.
void add(Figures& sum, const Figures& part);
// Takes `part` out of what is left of its whole, and cuts it down to what is left: the parts, with
// what remains at the end, are then exactly the whole. Wall time overlaps: `part` keeps its own,
// and it is taken out of the rest down to 0. The peak is not divided: `part` has at most that of
// the whole, and the rest keeps it.
void take(Figures& rest, Figures& part);

// The ten columns of figures, in the order in which read_figures and bind_figures use them.
inline constexpr std::string_view kFigureColumns =
    "wall_ns, cpu_ns, memory_peak_bytes, memory_kib_ms, disk_bytes, disk_kib_ms, egress_bytes, "
    "gpu_ns, cost, book";
[[nodiscard]] Figures read_figures(const Statement& row, int first_column);
void bind_figures(Statement& statement, int first_position, const Figures& figures);

}  // namespace sandboxd::ledger
