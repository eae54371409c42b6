#pragma once

#include <cstdint>

#include "isolation/launch_plan.hpp"

namespace sandboxd::isolation {

// One sandbox's ids on the host: kIdRange ids from `base`. `base` is also the effective uid that creates the
// sandbox's user namespace, so that the kernel's per-user counters (ucounts) are per sandbox, not root's.
struct IdMap {
    std::uint32_t base = 0;
    [[nodiscard]] std::uint32_t init_id() const noexcept { return base + kInitId; }
    bool operator==(const IdMap&) const = default;
};

}  // namespace sandboxd::isolation
