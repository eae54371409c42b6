#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "sandboxd/core/clock.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::ctl {

// "30" and "30s" are seconds; ms, m, h and d too; "1.5h" is fine. invalid_argument with an example.
[[nodiscard]] Result<std::uint64_t> parse_milliseconds(std::string_view text);
// Whole seconds; what is less than one is refused.
[[nodiscard]] Result<std::uint64_t> parse_seconds(std::string_view text);
// "512", "512m" and "512MiB" are MiB; k, g and t too. Less than one MiB is refused.
[[nodiscard]] Result<std::uint64_t> parse_mebibytes(std::string_view text);
// RFC 3339, a date (its midnight in UTC), or a span of time before `now`: "24h", "7d".
[[nodiscard]] Result<WallTime> parse_moment(std::string_view text, WallTime now);

[[nodiscard]] std::string format_bytes(std::uint64_t bytes);  // "24.1 MiB"
[[nodiscard]] std::string format_ms(
    std::uint64_t ms);  // "35 ms", "1.02 s", "3m 05s", "2h 10m", "3d 04h"
[[nodiscard]] std::string format_age(std::string_view rfc3339,
                                     WallTime now);  // "3m"; "-" for what is no time

struct NameValue {
    std::string name;
    std::string value;
};
// NAME=VALUE. `what` names the option in the error.
[[nodiscard]] Result<NameValue> parse_pair(std::string_view text, std::string_view what);

}  // namespace sandboxd::ctl
