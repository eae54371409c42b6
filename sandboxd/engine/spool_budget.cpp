#include "sandboxd/engine/spool_budget.hpp"

#include <algorithm>

namespace sandboxd::engine {

std::uint64_t SpoolBudget::reserve(std::uint64_t wanted) {
    if (used_ >= limit_ && on_full) on_full();
    const std::uint64_t room = limit_ > used_ ? limit_ - used_ : 0;
    const std::uint64_t granted = std::min(room, wanted);
    used_ += granted;
    return granted;
}

}  // namespace sandboxd::engine
