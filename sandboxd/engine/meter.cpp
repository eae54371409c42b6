#include "sandboxd/engine/meter.hpp"

#include <algorithm>

namespace sandboxd::engine {

namespace {

constexpr std::uint64_t kKiBMs = 1024ULL * 1'000'000ULL;  // in bytes·ns

std::uint64_t nanoseconds(SteadyTime from, SteadyTime to) {
    return to > from ? static_cast<std::uint64_t>(std::chrono::nanoseconds{to - from}.count()) : 0;
}

}  // namespace

std::uint64_t ByteTime::add(std::uint64_t bytes, std::uint64_t ns) noexcept {
    __extension__ using Wide = unsigned __int128;
    const Wide sum = Wide{bytes} * ns + rest_;
    rest_ = static_cast<std::uint64_t>(sum % kKiBMs);
    return static_cast<std::uint64_t>(sum / kKiBMs);
}

void Meter::pass(std::uint64_t ns, std::uint64_t memory_bytes) noexcept {
    counters_.wall_ns += ns;
    counters_.memory_kib_ms += memory_.add(memory_bytes, ns);
    counters_.disk_kib_ms += disk_.add(counters_.disk_bytes, ns);
}

void Meter::take(const Reading& reading) noexcept {
    if (reading.cpu_ns) counters_.cpu_ns = std::max(counters_.cpu_ns, *reading.cpu_ns);
    if (reading.memory_bytes) memory_bytes_ = *reading.memory_bytes;
    counters_.memory_peak_bytes = std::max({counters_.memory_peak_bytes, reading.memory_peak_bytes.value_or(0), memory_bytes_});
}

void Meter::advance(SteadyTime now, const Reading& reading) {
    const std::uint64_t before = memory_bytes_;
    const std::uint64_t after = reading.memory_bytes.value_or(before);
    pass(nanoseconds(at_, now), before / 2 + after / 2 + (before % 2 + after % 2) / 2);
    at_ = std::max(at_, now);
    take(reading);
}

void Meter::advance(SteadyTime now) {
    pass(nanoseconds(at_, now), memory_bytes_);
    at_ = std::max(at_, now);
}

void Meter::raise(std::uint64_t cpu_ns, std::uint64_t memory_kib_ms) noexcept {
    counters_.cpu_ns = std::max(counters_.cpu_ns, cpu_ns);
    counters_.memory_kib_ms = std::max(counters_.memory_kib_ms, memory_kib_ms);
}

void Meter::catch_up(std::uint64_t wall_ns, const Reading& reading) {
    take(reading);
    if (wall_ns > counters_.wall_ns) pass(wall_ns - counters_.wall_ns, memory_bytes_);
}

ledger::Counters Meter::at(SteadyTime now) const {
    Meter later = *this;
    later.advance(now);
    return later.counters_;
}

}  // namespace sandboxd::engine
