#include "isolation/cgroup_limits.hpp"

#include <sys/sysmacros.h>

#include <algorithm>

#include "isolation/device_policy.hpp"

namespace sandboxd::isolation {

namespace {

constexpr std::uint64_t kMinMemory = 1 << 20;
constexpr std::uint64_t kMaxMemory = std::uint64_t{1} << 50;
constexpr std::uint32_t kPeriodUs = 100'000;
constexpr std::uint32_t kMinCpuMilli = 10;  // the kernel refuses a quota below 1 ms
constexpr std::uint32_t kMaxCpuMilli = 4096 * 1000;
constexpr std::uint32_t kMaxPids = 4 << 20;  // PID_MAX_LIMIT

// v1 keeps unread TCP bytes out of memory.limit_in_bytes and counts none until this is set, so it
// comes on top.
constexpr std::uint64_t kTcpShare = 8;
constexpr std::uint64_t kMinTcp = 4 << 20;

std::string device_key(dev_t device) {
    return std::to_string(major(device)) + ":" + std::to_string(minor(device));
}

std::uint32_t quota_us(std::uint32_t cpu_milli) {
    return static_cast<std::uint32_t>(std::uint64_t{cpu_milli} * kPeriodUs / 1000);
}

Error out_of_range(const char* limit, std::uint64_t asked, std::uint64_t least,
                   std::uint64_t most) {
    return Error{Errc::invalid_argument, "cgroup limit", std::string{limit} + " is out of range"}
        .fact("limit", std::string{limit})
        .fact("asked", static_cast<std::int64_t>(asked))
        .fact("least", static_cast<std::int64_t>(least))
        .fact("most", static_cast<std::int64_t>(most));
}

}  // namespace

Result<void> check_limits(const CgroupLimits& limits) {
    if (limits.memory_bytes < kMinMemory || limits.memory_bytes > kMaxMemory) {
        return out_of_range("memory_bytes", limits.memory_bytes, kMinMemory, kMaxMemory);
    }
    if (limits.cpu_milli < kMinCpuMilli || limits.cpu_milli > kMaxCpuMilli) {
        return out_of_range("cpu_milli", limits.cpu_milli, kMinCpuMilli, kMaxCpuMilli);
    }
    if (limits.pids == 0 || limits.pids > kMaxPids)
        return out_of_range("pids", limits.pids, 1, kMaxPids);
    return {};
}

ControlWrites v1_memory_writes(std::uint64_t bytes, MemoryChange change) {
    const std::string value = std::to_string(bytes);
    ControlWrite limit{"memory.limit_in_bytes", value};
    // memory + swap = memory: no swap. Where the kernel counts no swap, swappiness 0 is what is
    // left.
    ControlWrite with_swap{"memory.memsw.limit_in_bytes", value, true};
    ControlWrites out;
    if (change == MemoryChange::grow) {
        out = {std::move(with_swap), std::move(limit)};
    } else {
        out = {std::move(limit), std::move(with_swap)};
    }
    out.push_back({"memory.swappiness", "0"});
    out.push_back({"memory.kmem.tcp.limit_in_bytes",
                   std::to_string(std::max(bytes / kTcpShare, kMinTcp)), true});
    return out;
}

ControlWrites v1_cpu_writes(std::uint32_t cpu_milli) {
    return {{"cpu.cfs_period_us", std::to_string(kPeriodUs)},
            {"cpu.cfs_quota_us", std::to_string(quota_us(cpu_milli))}};
}

ControlWrites pids_writes(std::uint32_t pids) {
    return {{"pids.max", std::to_string(pids)}};
}

ControlWrites v1_io_writes(std::uint64_t bytes_per_second, dev_t device) {
    const std::string value = device_key(device) + " " + std::to_string(bytes_per_second);
    return {{"blkio.throttle.read_bps_device", value}, {"blkio.throttle.write_bps_device", value}};
}

ControlWrites v1_device_writes() {
    ControlWrites out{{"devices.deny", "a"}};
    for (const AllowedDevice& device : allowed_devices()) {
        const std::string minor = device.minor ? std::to_string(*device.minor) : "*";
        out.push_back({"devices.allow", "c " + std::to_string(device.major) + ":" + minor + " rw"});
    }
    return out;
}

ControlWrites v2_memory_writes(std::uint64_t bytes) {
    return {{"memory.max", std::to_string(bytes)},
            {"memory.swap.max", "0", true},
            {"memory.zswap.max", "0", true}};
}

ControlWrites v2_cpu_writes(std::uint32_t cpu_milli) {
    return {{"cpu.max", std::to_string(quota_us(cpu_milli)) + " " + std::to_string(kPeriodUs)}};
}

ControlWrites v2_io_writes(std::uint64_t bytes_per_second, dev_t device) {
    const std::string rate = bytes_per_second == 0 ? "max" : std::to_string(bytes_per_second);
    return {{"io.max", device_key(device) + " rbps=" + rate + " wbps=" + rate}};
}

}  // namespace sandboxd::isolation
