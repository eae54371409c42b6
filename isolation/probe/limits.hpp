#pragma once

#include "isolation/probe/finding.hpp"

namespace sandboxd::probe {

// Touches twice `limit` bytes. Where the limit holds, the kernel ends the process; returns 0 where it does not, 3 when
// the address space was refused.
[[nodiscard]] int use_memory(unsigned long limit);

}  // namespace sandboxd::probe
