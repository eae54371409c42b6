#include "sandboxd/engine/sandbox_meter.hpp"

#include <algorithm>
#include <utility>

namespace sandboxd::engine {

Readings read_counters(const CgroupCounters& counters, const std::vector<std::uint64_t>& execs) {
    Readings out;
    for (const std::uint64_t exec : execs) out.execs.emplace(exec, counters.exec(exec));
    out.sandbox = counters.sandbox();
    out.at = system_clock().steady();
    return out;
}

SandboxMeter::SandboxMeter(SandboxId sandbox, TenantId tenant, ledger::Counters start, SteadyTime now)
    : id_{std::move(sandbox)},
      tenant_{std::move(tenant)},
      sandbox_{start, now},
      // What is in the ledger already includes every exec up to then.
      ended_cpu_ns_{start.cpu_ns},
      ended_memory_kib_ms_{start.memory_kib_ms} {}

std::shared_ptr<const Meter> SandboxMeter::begin(std::uint64_t exec, ledger::Counters start, SteadyTime now) {
    ended_cpu_ns_ -= std::min(ended_cpu_ns_, start.cpu_ns);
    ended_memory_kib_ms_ -= std::min(ended_memory_kib_ms_, start.memory_kib_ms);
    auto meter = std::make_shared<Meter>(start, now);
    execs_[exec] = meter;
    return meter;
}

void SandboxMeter::resume(std::uint64_t exec, std::uint64_t wall_ns, const Reading& reading) {
    const auto found = execs_.find(exec);
    if (found == execs_.end()) return;
    found->second->catch_up(wall_ns, reading);
    hold_sum();
}

std::vector<std::uint64_t> SandboxMeter::running() const {
    std::vector<std::uint64_t> out;
    out.reserve(execs_.size());
    for (const auto& [number, meter] : execs_) out.push_back(number);
    return out;
}

void SandboxMeter::apply(const Readings& readings) {
    for (const auto& [number, reading] : readings.execs) {
        // One that ended while the counters were read has had its last reading.
        if (const auto found = execs_.find(number); found != execs_.end()) found->second->advance(readings.at, reading);
    }
    sandbox_.advance(readings.at, readings.sandbox);
    hold_sum();
}

void SandboxMeter::hold_sum() {
    std::uint64_t cpu = ended_cpu_ns_;
    std::uint64_t memory = ended_memory_kib_ms_;
    for (const auto& [number, meter] : execs_) {
        cpu += meter->counters().cpu_ns;
        memory += meter->counters().memory_kib_ms;
    }
    sandbox_.raise(cpu, memory);
}

ledger::Sample SandboxMeter::end(std::uint64_t exec, WallTime now) {
    ledger::Sample row{id_, tenant_, exec, now, {}, true};
    const auto found = execs_.find(exec);
    if (found == execs_.end()) return row;
    row.counters = found->second->counters();
    ended_cpu_ns_ += row.counters.cpu_ns;
    ended_memory_kib_ms_ += row.counters.memory_kib_ms;
    execs_.erase(found);
    return row;
}

ledger::Sample SandboxMeter::sandbox_row(WallTime now, Last last) const {
    return {id_, tenant_, 0, now, sandbox_.counters(), last == Last::yes};
}

void SandboxMeter::rows(WallTime now, std::vector<ledger::Sample>& out) const {
    out.push_back(sandbox_row(now, Last::no));
    for (const auto& [number, meter] : execs_) out.push_back({id_, tenant_, number, now, meter->counters(), false});
}

}  // namespace sandboxd::engine
