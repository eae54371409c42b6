#pragma once

#include <cstdint>
#include <string_view>

#include "sandboxd/core/result.hpp"

namespace sandboxd::manager {

struct HostMemory {
    std::uint64_t total_bytes = 0;
    std::uint64_t available_bytes = 0;
};

[[nodiscard]] Result<HostMemory> parse_meminfo(std::string_view text);
[[nodiscard]] Result<HostMemory> read_host_memory();  // /proc/meminfo

}  // namespace sandboxd::manager
