#pragma once

#include <cstddef>
#include <vector>

#include "isolation/jail.hpp"
#include "sandboxd/core/fd.hpp"

namespace sandboxd::isolation {

// The launch plan as it goes over the set-up socket. `fds` are borrowed.
struct EncodedPlan {
    std::vector<std::byte> bytes;
    std::vector<int> fds;
};

// invalid_argument, before anything is started, for a spec that no init could carry out.
[[nodiscard]] Result<void> check_spec(const JailSpec& spec);
// `mounts`: one descriptor per source of the spec's mount plan, in order.
[[nodiscard]] Result<EncodedPlan> encode_plan(const JailSpec& spec, const std::vector<Fd>& mounts);

}  // namespace sandboxd::isolation
