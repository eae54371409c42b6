#pragma once

#include <cstdint>
#include <functional>

namespace sandboxd::engine {

// The bytes that all spill files of one sandbox may hold together. Room is reserved before bytes move, so that streams
// that move at the same time can't overshoot. One thread.
class SpoolBudget {
public:
    explicit SpoolBudget(std::uint64_t limit) noexcept : limit_{limit} {}

    // Called when there is no room: may drop old files, which release() theirs.
    std::function<void()> on_full;

    [[nodiscard]] std::uint64_t used() const noexcept { return used_; }
    // Up to `wanted`; 0 when nothing is left, also after on_full.
    [[nodiscard]] std::uint64_t reserve(std::uint64_t wanted);
    // What is in a file already (after a restart) counts even above the limit.
    void adopt(std::uint64_t bytes) noexcept { used_ += bytes; }
    void release(std::uint64_t bytes) noexcept { used_ -= bytes < used_ ? bytes : used_; }

private:
    std::uint64_t limit_;
    std::uint64_t used_ = 0;
};

}  // namespace sandboxd::engine
