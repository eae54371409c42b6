#pragma once

#include <cstdint>

#include "isolation/cgroup.hpp"
#include "sandboxd/control/node.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::manager {

// invalid_argument for what no sandbox could be made of. The API has checked it; this side trusts nobody.
[[nodiscard]] Result<void> check_spec(const control::CreateSpec& spec);

[[nodiscard]] isolation::CgroupLimits cgroup_limits(const policies::Limits& limits);
// /dev/shm is memory of the sandbox: half of it, as a tmpfs has by default.
[[nodiscard]] std::uint64_t shm_bytes(const policies::Limits& limits);

}  // namespace sandboxd::manager
