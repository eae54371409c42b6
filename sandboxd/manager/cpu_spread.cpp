#include "sandboxd/manager/cpu_spread.hpp"

#include <sched.h>

#include <algorithm>
#include <string>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::manager {

CpuSpread::CpuSpread(std::uint32_t cpus) : promised_(std::max(cpus, 1U), 0) {}

std::uint32_t CpuSpread::cpus_of_this_process() {
    cpu_set_t set;
    CPU_ZERO(&set);
    // More CPUs than a set holds: then the init hides none, and there is nothing to spread.
    if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return static_cast<std::uint32_t>(CPU_COUNT(&set));
}

std::uint32_t CpuSpread::count(std::uint32_t cpu_milli) const noexcept {
    const auto wanted = static_cast<std::uint32_t>((std::uint64_t{cpu_milli} + 999) / 1000);
    return std::clamp(wanted, 1U, static_cast<std::uint32_t>(promised_.size()));
}

std::uint64_t CpuSpread::cost(std::uint32_t first, std::uint32_t count) const noexcept {
    std::uint64_t sum = 0;
    for (std::uint32_t i = 0; i < count; ++i) sum += promised_[(first + i) % promised_.size()];
    return sum;
}

std::uint32_t CpuSpread::place(std::uint32_t cpu_milli) {
    const std::uint32_t wanted = count(cpu_milli);
    std::uint32_t best = 0;
    for (std::uint32_t first = 1; first < promised_.size(); ++first) {
        if (cost(first, wanted) < cost(best, wanted)) best = first;
    }
    add(best, cpu_milli);
    return best;
}

void CpuSpread::add(std::uint32_t first, std::uint32_t cpu_milli) {
    const std::uint32_t wanted = count(cpu_milli);
    for (std::uint32_t i = 0; i < wanted; ++i) promised_[(first + i) % promised_.size()] += cpu_milli / wanted;
}

void CpuSpread::remove(std::uint32_t first, std::uint32_t cpu_milli) {
    const std::uint32_t wanted = count(cpu_milli);
    for (std::uint32_t i = 0; i < wanted; ++i) {
        std::uint64_t& promised = promised_[(first + i) % promised_.size()];
        promised -= std::min<std::uint64_t>(promised, cpu_milli / wanted);
    }
}

Result<Fd> read_cpu_info() {
    constexpr std::size_t kMost = 8 << 20;
    SBX_TRY(const std::string text, sys::read_file("/proc/cpuinfo", kMost));
    return sys::memfd("cpuinfo", text);
}

}  // namespace sandboxd::manager
