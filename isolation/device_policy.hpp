#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sandboxd/core/result.hpp"

// Which devices code in a sandbox may open: the second wall behind nodev mounts and a seccomp
// profile without mknod. v1 takes it as lines (cgroup_limits.hpp), cgroup2 as a BPF program.
namespace sandboxd::isolation {

// A character device that may be read and written. No block device, and nothing may be made.
struct AllowedDevice {
    std::uint32_t major = 0;
    std::optional<std::uint32_t> minor;  // none: all of them
    bool operator==(const AllowedDevice&) const = default;
};

// null zero full random urandom tty ptmx and the pseudo terminals. A GPU needs entries of its own.
[[nodiscard]] const std::vector<AllowedDevice>& allowed_devices();

// Pure: a program of type BPF_PROG_TYPE_CGROUP_DEVICE that answers 1 for these and 0 for all else.
[[nodiscard]] std::vector<bpf_insn> device_program(std::span<const AllowedDevice> allowed);

// Holds for the cgroup2 folder and all below it, also those that exist, and replaces what an
// earlier call has put there. Lives as long as the folder. A folder below may get another program,
// which then counts in place of this one; programs of the host above count besides.
// incompatible when the kernel has no such programs or does not let us.
[[nodiscard]] Result<void> attach_device_policy(int cgroup, std::span<const AllowedDevice> allowed);

}  // namespace sandboxd::isolation
