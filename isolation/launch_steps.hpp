#pragma once

#include <span>

namespace sandboxd::isolation {

// The monitor's part of making a jail, in the order in which it does it; the init's part is `sandbox-init --print-stages`.
struct LaunchStep {
    const char* name;
    const char* why;
};
[[nodiscard]] std::span<const LaunchStep> launch_steps() noexcept;

}  // namespace sandboxd::isolation
