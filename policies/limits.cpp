#include "policies/limits.hpp"

namespace sandboxd::policies {

namespace {

Result<void> at_most(const char* name, std::uint64_t asked, std::uint64_t allowed, std::uint64_t unit) {
    if (asked <= allowed) return {};
    const auto in_unit = [&](std::uint64_t value) { return static_cast<std::int64_t>((value + unit - 1) / unit); };
    Error error{Errc::limit_exceeded, "limits", std::string{name} + ": asked for " + std::to_string(in_unit(asked)) +
                                                    ", this tenant may have " + std::to_string(allowed / unit)};
    return std::move(error).fact("limit", std::string{name}).fact("asked", in_unit(asked)).fact("allowed", static_cast<std::int64_t>(allowed / unit));
}

}  // namespace

Result<void> check_limits(const Limits& asked, const TenantLimits& ceiling) {
    constexpr std::uint64_t kMiB = 1 << 20;
    const Limits& most = ceiling.per_sandbox;
    SBX_CHECK(at_most("cpu_milli", asked.cpu_milli, most.cpu_milli, 1));
    SBX_CHECK(at_most("memory_mb", asked.memory_bytes, most.memory_bytes, kMiB));
    SBX_CHECK(at_most("disk_mb", asked.disk_bytes, most.disk_bytes, kMiB));
    SBX_CHECK(at_most("pids", asked.pids, most.pids, 1));
    return at_most("output_mb", asked.output_bytes, most.output_bytes, kMiB);
}

}  // namespace sandboxd::policies
