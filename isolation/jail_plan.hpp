#pragma once

#include <cstddef>
#include <vector>

#include "isolation/jail.hpp"
#include "isolation/jail_mounts.hpp"
#include "sandboxd/core/fd.hpp"

namespace sandboxd::isolation {

// The launch plan as it goes over the set-up socket. `fds` are borrowed.
struct EncodedPlan {
    std::vector<std::byte> bytes;
    std::vector<int> fds;
};

// invalid_argument, before anything is started, for a spec that no init could carry out.
[[nodiscard]] Result<void> check_spec(const JailSpec& spec);
[[nodiscard]] Result<EncodedPlan> encode_plan(const JailSpec& spec, const JailMounts& mounts);
// An inode of tmpfs costs about 1 KiB of kernel memory, so they are bounded with the bytes.
[[nodiscard]] std::uint32_t shm_inodes(std::uint64_t bytes);

}  // namespace sandboxd::isolation
