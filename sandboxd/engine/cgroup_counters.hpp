#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sandboxd/core/fd.hpp"

namespace sandboxd::engine {

// What the kernel counts for one cgroup; what can't be read (the folder is gone) is missing.
struct Reading {
    std::optional<std::uint64_t> cpu_ns;
    std::optional<std::uint64_t> memory_bytes;
    std::optional<std::uint64_t> memory_peak_bytes;
};

// The counter files of one sandbox and of its execs' leaves (work/e<N>), v1 or v2. Immutable; its calls block for some
// microseconds and may come from any thread.
class CgroupCounters {
public:
    CgroupCounters(Fd memory_dir, Fd cpu_dir, Fd pids_dir, bool v2) noexcept
        : memory_{std::move(memory_dir)}, cpu_{std::move(cpu_dir)}, pids_{std::move(pids_dir)}, v2_{v2} {}

    [[nodiscard]] Reading sandbox() const { return read(""); }
    [[nodiscard]] Reading exec(std::uint64_t number) const { return read(leaf(number)); }
    // Programs of this exec that the kernel killed for want of memory. Only the leaf's own count: the one of "work"
    // would blame this exec for another one's.
    [[nodiscard]] std::uint64_t oom_kills(std::uint64_t number) const;
    // Processes and threads that were refused for the limit, in the sandbox since it began. v1, and v2 from kernel 6.11
    // on; before that, v2 counts them in the leaf of who asked.
    [[nodiscard]] std::uint64_t forks_refused() const;
    [[nodiscard]] std::uint64_t forks_refused(std::uint64_t number) const;

private:
    [[nodiscard]] static std::string leaf(std::uint64_t number);
    [[nodiscard]] Reading read(const std::string& prefix) const;

    Fd memory_;
    Fd cpu_;
    Fd pids_;
    bool v2_;
};

}  // namespace sandboxd::engine
