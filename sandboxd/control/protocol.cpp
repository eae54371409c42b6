#include "sandboxd/control/protocol.hpp"

#include <algorithm>

namespace sandboxd::control {

WireLimits to_wire(const policies::Limits& limits) noexcept {
    return {limits.cpu_milli, limits.memory_bytes, limits.disk_bytes, limits.pids};
}

policies::Limits from_wire(const WireLimits& limits) noexcept {
    policies::Limits out;
    out.cpu_milli = limits.cpu_milli;
    out.memory_bytes = limits.memory_bytes;
    out.disk_bytes = limits.disk_bytes;
    out.pids = limits.pids;
    return out;
}

ErrorReply to_wire(const Error& error) noexcept {
    constexpr std::size_t kMaxText = 2048;
    ErrorReply reply;
    reply.is_errno = error.code().category() != errc_category();
    reply.value = error.code().value();
    reply.operation = std::string_view{error.operation()}.substr(0, kMaxText);
    reply.detail = std::string_view{error.detail()}.substr(0, kMaxText);
    std::size_t i = 0;
    for (const auto& [key, value] : error.facts()) {
        if (i == kMaxFacts) break;
        WireFact& fact = reply.facts[i++];
        fact.key = key;
        if (const auto* number = std::get_if<std::int64_t>(&value)) {
            fact.is_number = true;
            fact.number = *number;
        } else {
            fact.text = std::string_view{std::get<std::string>(value)}.substr(0, kMaxText);
        }
    }
    return reply;
}

Error from_wire(const ErrorReply& reply) {
    std::string operation{reply.operation};
    std::string detail{reply.detail};
    Error error = reply.is_errno ? errno_error(reply.value, std::move(operation), std::move(detail))
                                 : Error{static_cast<Errc>(reply.value), std::move(operation), std::move(detail)};
    for (const WireFact& fact : reply.facts) {
        if (fact.key.empty()) break;
        Error::Fact value = fact.is_number ? Error::Fact{fact.number} : Error::Fact{std::string{fact.text}};
        error = std::move(error).fact(std::string{fact.key}, std::move(value));
    }
    return error;
}

std::string join(const std::vector<std::string>& items) {
    std::string out;
    for (const std::string& item : items) {
        if (!out.empty()) out += ',';
        out += item;
    }
    return out;
}

std::vector<std::string> split(std::string_view joined) {
    std::vector<std::string> out;
    while (!joined.empty()) {
        const auto comma = joined.find(',');
        out.emplace_back(joined.substr(0, comma));
        if (comma == std::string_view::npos) break;
        joined.remove_prefix(comma + 1);
    }
    return out;
}

std::uint32_t milliseconds_left(Deadline deadline) {
    using std::chrono::milliseconds;
    constexpr std::int64_t kHour = 3'600'000;
    if (deadline.is_never()) return kHour;
    const auto left = std::chrono::duration_cast<milliseconds>(deadline.time() - Deadline::Clock::now()).count();
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(left, 1, kHour));
}

}  // namespace sandboxd::control
