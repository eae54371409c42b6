#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "sandboxd/core/result.hpp"

namespace sandboxd {

using WallTime = std::chrono::sys_time<std::chrono::nanoseconds>;
using SteadyTime = std::chrono::steady_clock::time_point;

// Time as the daemon sees it; tests put a fake one in. Steady time drives deadlines and metering,
// wall time is only for records and answers.
class Clock {
public:
    virtual ~Clock() = default;
    [[nodiscard]] virtual WallTime wall() const = 0;
    [[nodiscard]] virtual SteadyTime steady() const = 0;
};

[[nodiscard]] const Clock& system_clock() noexcept;

// RFC 3339, UTC, milliseconds: "2026-01-31T12:00:00.000Z".
[[nodiscard]] std::string to_rfc3339(WallTime time);
// Any RFC 3339 offset; fractions up to nanoseconds.
[[nodiscard]] Result<WallTime> parse_rfc3339(std::string_view text);

}  // namespace sandboxd
