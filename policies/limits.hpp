#pragma once

#include <cstdint>
#include <string>

#include "policies/profile.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::policies {

// What one sandbox may use. Defaults are the product's.
struct Limits {
    std::uint32_t cpu_milli = 1000;                          // 1000: one core
    std::uint64_t memory_bytes = 512ULL << 20;               // no swap on top
    std::uint64_t disk_bytes = 1ULL << 30;
    std::uint32_t pids = 256;
    std::uint64_t output_bytes = 64ULL << 20;                // per output stream of an exec
    bool operator==(const Limits&) const = default;
};

// Smallest values with which a jail works at all; less is refused as out of range.
inline constexpr Limits kLeastLimits{50, 16ULL << 20, 16ULL << 20, 4, 4096};

// A tenant's ceilings: per sandbox, and over all of its sandboxes.
struct TenantLimits {
    Limits per_sandbox{8000, 16ULL << 30, 64ULL << 30, 4096, 8ULL << 30};
    std::uint32_t sandboxes = 2000;
    std::uint64_t cpu_milli = 4'000'000;         // sum over living sandboxes
    std::uint64_t memory_bytes = 4ULL << 40;     // sum over living sandboxes
    std::uint32_t creates_per_second = 1000;     // token bucket with a burst of twice that
    std::uint64_t max_timeout_s = 30 * 24 * 3600;      // a sandbox's time to live after the last use
    std::uint64_t max_exec_ms = 24ULL * 3600 * 1000;
    bool allow_root = true;                      // user "root" inside sandboxes
    Profile profile = Profile::standard;         // the widest one
    bool operator==(const TenantLimits&) const = default;
};

// limit_exceeded with the facts limit, asked and allowed when `asked` is above the tenant's ceiling for one sandbox.
[[nodiscard]] Result<void> check_limits(const Limits& asked, const TenantLimits& ceiling);

}  // namespace sandboxd::policies
