#pragma once

#include <cstdint>
#include <vector>

#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::manager {

// Which of this machine's CPUs a sandbox is shown and begins on: as many as its quota is worth, one after another in the
// list of those that the daemon may use, from a place where the least has been promised to others. A value of bookkeeping;
// the quota, not this, is what limits a sandbox.
class CpuSpread {
public:
    explicit CpuSpread(std::uint32_t cpus);
    // Those that the calling thread may run on.
    [[nodiscard]] static std::uint32_t cpus_of_this_process();

    // The place for a sandbox with this quota, and its promise made there.
    [[nodiscard]] std::uint32_t place(std::uint32_t cpu_milli);
    // The same for one that has its place already: after a restart, and with new limits.
    void add(std::uint32_t first, std::uint32_t cpu_milli);
    void remove(std::uint32_t first, std::uint32_t cpu_milli);
    [[nodiscard]] const std::vector<std::uint64_t>& promised() const noexcept { return promised_; }

private:
    [[nodiscard]] std::uint32_t count(std::uint32_t cpu_milli) const noexcept;
    [[nodiscard]] std::uint64_t cost(std::uint32_t first, std::uint32_t count) const noexcept;

    std::vector<std::uint64_t> promised_;  // thousandths of a CPU, per CPU
};

// A sealed memfd with the host's /proc/cpuinfo, of which each init takes the sandbox's CPUs.
[[nodiscard]] Result<Fd> read_cpu_info();

}  // namespace sandboxd::manager
