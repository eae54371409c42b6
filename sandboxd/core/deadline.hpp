#pragma once

#include <chrono>

namespace sandboxd {

// A point in steady time until which something may take. Made once at the edge, handed down by value.
class Deadline {
public:
    using Clock = std::chrono::steady_clock;

    [[nodiscard]] static Deadline after(Clock::duration d) { return Deadline{Clock::now() + d}; }
    [[nodiscard]] static Deadline never() { return Deadline{Clock::time_point::max()}; }

    [[nodiscard]] Clock::time_point time() const noexcept { return at_; }
    [[nodiscard]] bool passed() const { return Clock::now() >= at_; }
    [[nodiscard]] bool is_never() const noexcept { return at_ == Clock::time_point::max(); }
    [[nodiscard]] Deadline earlier_of(Deadline other) const noexcept { return at_ < other.at_ ? *this : other; }

private:
    explicit Deadline(Clock::time_point at) noexcept : at_{at} {}
    Clock::time_point at_;
};

}  // namespace sandboxd
