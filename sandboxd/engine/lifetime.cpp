#include "sandboxd/engine/lifetime.hpp"

#include "sandboxd/core/assert.hpp"

namespace sandboxd::engine {

void Lifetime::used(SteadyTime now) noexcept {
    used_ = now;
    provisional_ = false;
}

void Lifetime::exec_began(SteadyTime now) noexcept {
    used(now);
    ++execs_;
}

void Lifetime::exec_ended(SteadyTime now) noexcept {
    SBX_ASSERT(execs_ > 0);
    --execs_;
    used(now);
}

void Lifetime::paused(bool on, SteadyTime now) noexcept {
    paused_ = on;
    used(now);
}

void Lifetime::configure(std::uint64_t timeout_s, ledger::OnTimeout on_timeout) noexcept {
    timeout_s_ = timeout_s;
    on_timeout_ = on_timeout;
}

std::optional<SteadyTime> Lifetime::due() const noexcept {
    if (paused_ || execs_ > 0) return std::nullopt;
    if (provisional_) return used_ + kProvisionalTime;
    return used_ + std::chrono::seconds{timeout_s_};
}

Lifetime::End Lifetime::end() const noexcept {
    if (provisional_) return End::abandon;
    return on_timeout_ == ledger::OnTimeout::pause ? End::pause : End::kill;
}

}  // namespace sandboxd::engine
