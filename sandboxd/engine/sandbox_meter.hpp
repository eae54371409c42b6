#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "sandboxd/core/clock.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/engine/cgroup_counters.hpp"
#include "sandboxd/engine/meter.hpp"
#include "sandboxd/ledger/ledger.hpp"

namespace sandboxd::engine {

// One look at all counters of a sandbox.
struct Readings {
    SteadyTime at;
    Reading sandbox;
    std::map<std::uint64_t, Reading> execs;
};
// Execs first: the sandbox's figures are then not older than its parts'. Blocks for some microseconds per exec.
[[nodiscard]] Readings read_counters(const CgroupCounters& counters, const std::vector<std::uint64_t>& execs);

// The meters of a sandbox and of its running execs. Keeps what holds between them: CPU time and the memory integral of
// the sandbox are never less than those of all of its execs together. No I/O.
class SandboxMeter {
public:
    SandboxMeter(SandboxId sandbox, TenantId tenant, ledger::Counters start, SteadyTime now);

    // A running exec, with the figures it begins with: none, or the recorded ones of before a restart.
    [[nodiscard]] std::shared_ptr<const Meter> begin(std::uint64_t exec, ledger::Counters start, SteadyTime now);
    // The exec's time while the daemon was down.
    void resume(std::uint64_t exec, std::uint64_t wall_ns, const Reading& reading);
    [[nodiscard]] std::vector<std::uint64_t> running() const;

    void apply(const Readings& readings);
    void idle_until(SteadyTime now) { sandbox_.advance(now); }
    void set_disk(std::uint64_t bytes) noexcept { sandbox_.set_disk(bytes); }
    void catch_up(std::uint64_t wall_ns, const Reading& reading) { sandbox_.catch_up(wall_ns, reading); }
    // The exec runs no more; its last row.
    [[nodiscard]] ledger::Sample end(std::uint64_t exec, WallTime now);

    enum class Last { no, yes };
    [[nodiscard]] ledger::Sample sandbox_row(WallTime now, Last last) const;
    // The rows of the sandbox and of its running execs.
    void rows(WallTime now, std::vector<ledger::Sample>& out) const;
    [[nodiscard]] ledger::Counters total(SteadyTime now) const { return sandbox_.at(now); }

private:
    void hold_sum();

    SandboxId id_;
    TenantId tenant_;
    Meter sandbox_;
    std::map<std::uint64_t, std::shared_ptr<Meter>> execs_;
    std::uint64_t ended_cpu_ns_;
    std::uint64_t ended_memory_kib_ms_;
};

}  // namespace sandboxd::engine
