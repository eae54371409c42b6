#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "sandboxd/core/clock.hpp"
#include "sandboxd/ledger/records.hpp"

namespace sandboxd::engine {

inline constexpr std::chrono::seconds kProvisionalTime{10};

// When a sandbox's time is over: `timeout` after its last use; never while an exec runs or while it is paused; a
// provisional one 10 s after it was made unless it was used by then. A machine without I/O: it is told what happens and
// says when to look.
class Lifetime {
public:
    enum class Kind { confirmed, provisional };
    Lifetime(std::uint64_t timeout_s, ledger::OnTimeout on_timeout, Kind kind, SteadyTime now) noexcept
        : timeout_s_{timeout_s}, on_timeout_{on_timeout}, provisional_{kind == Kind::provisional}, used_{now} {}

    void used(SteadyTime now) noexcept;
    void exec_began(SteadyTime now) noexcept;
    void exec_ended(SteadyTime now) noexcept;
    void paused(bool on, SteadyTime now) noexcept;
    void configure(std::uint64_t timeout_s, ledger::OnTimeout on_timeout) noexcept;

    [[nodiscard]] bool provisional() const noexcept { return provisional_; }
    [[nodiscard]] std::uint32_t execs() const noexcept { return execs_; }
    [[nodiscard]] std::optional<SteadyTime> due() const noexcept;
    enum class End { kill, pause, abandon };
    [[nodiscard]] End end() const noexcept;

private:
    std::uint64_t timeout_s_;
    ledger::OnTimeout on_timeout_;
    bool provisional_;
    bool paused_ = false;
    std::uint32_t execs_ = 0;
    SteadyTime used_;
};

}  // namespace sandboxd::engine
