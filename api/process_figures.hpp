#pragma once

#include <cstdint>
#include <optional>

namespace sandboxd::api {

// What the kernel says of this process, as far as it says it.
struct ProcessFigures {
    std::optional<std::uint64_t> resident_bytes;
    std::optional<double> cpu_seconds;         // user and system
    std::optional<double> start_unix_seconds;  // wall clock
    std::optional<std::uint64_t> open_fds;
    std::optional<std::uint64_t> max_fds;
};

// Reads /proc: some tens of microseconds, more with very many descriptors.
[[nodiscard]] ProcessFigures process_figures();

}  // namespace sandboxd::api
