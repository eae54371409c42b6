#include "policies/limits.hpp"

#include <string>
#include <utility>

namespace sandboxd::policies {

namespace {

Error above(const char* limit, Error::Fact asked, Error::Fact allowed, const std::string& words) {
    Error error{Errc::limit_exceeded, "limits", std::string{limit} + ": " + words};
    return std::move(error)
        .fact("limit", std::string{limit})
        .fact("asked", std::move(asked))
        .fact("allowed", std::move(allowed));
}

std::string words_of(const std::string& asked, const std::string& allowed) {
    return "asked for " + asked + ", this tenant may have " + allowed + " per sandbox";
}

// The figures are told in the unit in which they were asked for. What was asked is rounded up and
// what is allowed down, so that the two differ in the message whenever they differ.
Result<void> at_most(const char* limit, std::uint64_t asked, std::uint64_t allowed,
                     std::uint64_t unit) {
    if (asked <= allowed) return {};
    const std::uint64_t asked_units = asked / unit + (asked % unit != 0 ? 1 : 0);
    const std::uint64_t allowed_units = allowed / unit;
    return above(limit, static_cast<std::int64_t>(asked_units),
                 static_cast<std::int64_t>(allowed_units),
                 words_of(std::to_string(asked_units), std::to_string(allowed_units)));
}

// "1.5": cores as the API spells them.
std::string cores(std::uint32_t milli) {
    std::string out = std::to_string(milli / 1000);
    std::string fraction = std::to_string(milli % 1000);
    fraction.insert(0, 3 - fraction.size(), '0');
    while (!fraction.empty() && fraction.back() == '0') fraction.pop_back();
    return fraction.empty() ? out : out + "." + fraction;
}

}  // namespace

Result<void> check_limits(const Limits& asked, const TenantLimits& ceiling) {
    constexpr std::uint64_t kMiB = 1ULL << 20;
    const Limits& most = ceiling.per_sandbox;
    if (asked.cpu_milli > most.cpu_milli) {
        const std::string wanted = cores(asked.cpu_milli);
        const std::string allowed = cores(most.cpu_milli);
        return above("cpus", wanted, allowed, words_of(wanted, allowed));
    }
    SBX_CHECK(at_most("memory_mb", asked.memory_bytes, most.memory_bytes, kMiB));
    SBX_CHECK(at_most("disk_mb", asked.disk_bytes, most.disk_bytes, kMiB));
    SBX_CHECK(at_most("pids", asked.pids, most.pids, 1));
    return at_most("output_mb", asked.output_bytes, most.output_bytes, kMiB);
}

}  // namespace sandboxd::policies
