#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "isolation/cgroup.hpp"

// What the limits look like as writes to control files. Pure, so that both versions are tested
// everywhere.
namespace sandboxd::isolation {

struct ControlWrite {
    std::string file;
    std::string value;
    bool optional =
        false;  // the file may be missing: another write or the kernel's build makes it unnecessary
    bool operator==(const ControlWrite&) const = default;
};
using ControlWrites = std::vector<ControlWrite>;

inline constexpr std::uint64_t kInitMemoryBytes = 16 << 20;
inline constexpr std::uint32_t kInitPids = 64;

// invalid_argument for limits that the kernel can't hold or that would mean "none" (0, except io).
[[nodiscard]] Result<void> check_limits(const CgroupLimits& limits);

// The order of writes matters where a pair must stay ordered: memsw may never be below limit.
enum class MemoryChange { grow, shrink };
[[nodiscard]] ControlWrites v1_memory_writes(std::uint64_t bytes, MemoryChange change);
[[nodiscard]] ControlWrites v1_cpu_writes(std::uint32_t cpu_milli);
[[nodiscard]] ControlWrites pids_writes(std::uint32_t pids);
// bytes_per_second 0: no limit.
[[nodiscard]] ControlWrites v1_io_writes(std::uint64_t bytes_per_second, dev_t device);
// Nothing, then what device_policy.hpp allows.
[[nodiscard]] ControlWrites v1_device_writes();

[[nodiscard]] ControlWrites v2_memory_writes(std::uint64_t bytes);
[[nodiscard]] ControlWrites v2_cpu_writes(std::uint32_t cpu_milli);
[[nodiscard]] ControlWrites v2_io_writes(std::uint64_t bytes_per_second, dev_t device);

}  // namespace sandboxd::isolation
