#pragma once

#include <cstdint>

#include "isolation/init/jail_state.hpp"

// The workload's limits and counters, read from its control groups: v1 or v2, whichever this jail has.
namespace sandboxd::init {

inline constexpr std::uint64_t kUnlimited = UINT64_MAX;
inline constexpr std::uint64_t kTicksPerSecond = 100;  // USER_HZ, in which /proc/stat counts

struct MemoryCounters {  // bytes
    std::uint64_t limit = kUnlimited;
    std::uint64_t used = 0;
    std::uint64_t cached = 0;
    std::uint64_t anonymous = 0;
    std::uint64_t shared = 0;
    std::uint64_t mapped = 0;
    std::uint64_t dirty = 0;
    std::uint64_t active_anonymous = 0;
    std::uint64_t inactive_anonymous = 0;
    std::uint64_t active_file = 0;
    std::uint64_t inactive_file = 0;
};
[[nodiscard]] MemoryCounters read_memory(const JailState& jail);

struct CpuTicks {
    std::uint64_t user = 0;
    std::uint64_t system = 0;
};
[[nodiscard]] CpuTicks read_cpu(const JailState& jail);

// The quota in whole CPUs, rounded up; 0: none.
[[nodiscard]] std::uint32_t read_cpu_limit(const JailState& jail);

}  // namespace sandboxd::init
