#pragma once

#include <cstdint>

#include "sandboxd/core/clock.hpp"
#include "sandboxd/engine/cgroup_counters.hpp"
#include "sandboxd/ledger/usage.hpp"

namespace sandboxd::engine {

// An integral of bytes over time, exact: what does not make a whole KiB·ms yet is kept.
class ByteTime {
public:
    // Adds `bytes` held for `ns` and returns the whole KiB·ms that this made.
    std::uint64_t add(std::uint64_t bytes, std::uint64_t ns) noexcept;

private:
    std::uint64_t rest_ = 0;  // bytes·ns
};

// Cumulative figures of one sandbox or exec, made from readings of the kernel's counters. They only grow, also when a
// reading is missing or lower than the last one. A value; no I/O.
class Meter {
public:
    Meter(ledger::Counters start, SteadyTime now) noexcept : counters_{start}, at_{now} {}

    // Memory between two readings counts as their mean.
    void advance(SteadyTime now, const Reading& reading);
    // Nothing was read: memory counts as at the last reading.
    void advance(SteadyTime now);
    void set_disk(std::uint64_t bytes) noexcept { counters_.disk_bytes = bytes; }
    // Not below what belongs to its parts.
    void raise(std::uint64_t cpu_ns, std::uint64_t memory_kib_ms) noexcept;
    // The time while nobody looked (the daemon was down), at the level that `reading` shows.
    void catch_up(std::uint64_t wall_ns, const Reading& reading);

    [[nodiscard]] const ledger::Counters& counters() const noexcept { return counters_; }
    // As they will be at `now` if nothing changes.
    [[nodiscard]] ledger::Counters at(SteadyTime now) const;

private:
    void pass(std::uint64_t ns, std::uint64_t memory_bytes) noexcept;
    void take(const Reading& reading) noexcept;

    ledger::Counters counters_;
    SteadyTime at_;
    std::uint64_t memory_bytes_ = 0;
    ByteTime memory_;
    ByteTime disk_;
};

}  // namespace sandboxd::engine
