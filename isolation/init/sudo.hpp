#pragma once

#include <sys/types.h>

#include <cstdint>

#include "isolation/init/jail_state.hpp"

namespace sandboxd::init {

// PID 1's part of `sudo`: when somebody knocks it forks a helper, and that accepts, reads and serves. PID 1 itself never
// takes a connection of the workload's into its hands: a message on it may carry descriptors, and closing what a stranger
// has chosen can block (a TCP socket that lingers), also when the kernel does it for a message that nobody has read.
class SudoDoor {
public:
    explicit SudoDoor(JailState& jail) : jail_{jail} {}

    // What to poll for a knock; -1 while as many helpers run as may, or so many were started that it has to wait.
    [[nodiscard]] int listener(std::uint64_t now_ns);
    // When to ask again after a wait (boot time); 0: no need.
    [[nodiscard]] std::uint64_t again_at_ns() const { return again_at_ns_; }
    void knock(std::uint64_t now_ns);
    // Whether it was a helper's.
    bool ended(pid_t pid);

private:
    static constexpr std::uint32_t kMaxHelpers = 16;
    // A knock costs PID 1's processor time, which no quota of the workload's holds.
    static constexpr std::uint64_t kNsPerStart = 50'000'000;
    static constexpr std::uint64_t kBurst = 16;

    JailState& jail_;
    pid_t helpers_[kMaxHelpers] = {};
    std::uint64_t free_at_ns_ = 0;  // when all the starts so far are paid for
    std::uint64_t again_at_ns_ = 0;
};

}  // namespace sandboxd::init
