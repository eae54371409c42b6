#include "sandboxd/engine/cgroup_counters.hpp"

#include <algorithm>
#include <charconv>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::engine {

namespace {

constexpr std::size_t kLongestFile = 64 * 1024;

std::optional<std::uint64_t> number(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{}) return std::nullopt;
    return value;
}

// The value behind "key " at the beginning of a line.
std::optional<std::uint64_t> keyed(std::string_view text, std::string_view key) {
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        if (line.size() > key.size() && line.substr(0, key.size()) == key && line[key.size()] == ' ') return number(line.substr(key.size() + 1));
        text.remove_prefix(std::min(text.size(), line.size() + 1));
    }
    return std::nullopt;
}

std::optional<std::string> file(const Fd& dir, const std::string& path) {
    if (!dir.valid()) return std::nullopt;
    auto text = sys::read_file_at(dir.get(), path.c_str(), kLongestFile);
    if (!text) return std::nullopt;  // gone, or of another kernel: the meter goes on with what it has
    return *std::move(text);
}

std::optional<std::uint64_t> number_of(const Fd& dir, const std::string& path) {
    const auto text = file(dir, path);
    return text ? number(*text) : std::nullopt;
}

std::optional<std::uint64_t> keyed_of(const Fd& dir, const std::string& path, std::string_view key) {
    const auto text = file(dir, path);
    return text ? keyed(*text, key) : std::nullopt;
}

}  // namespace

std::string CgroupCounters::leaf(std::uint64_t number) { return "work/e" + std::to_string(number) + "/"; }

Reading CgroupCounters::read(const std::string& prefix) const {
    Reading out;
    if (v2_) {
        if (const auto usec = keyed_of(cpu_, prefix + "cpu.stat", "usage_usec")) out.cpu_ns = *usec * 1000;
        out.memory_bytes = number_of(memory_, prefix + "memory.current");
        out.memory_peak_bytes = number_of(memory_, prefix + "memory.peak");  // since kernel 5.19
    } else {
        out.cpu_ns = number_of(cpu_, prefix + "cpuacct.usage");
        out.memory_bytes = number_of(memory_, prefix + "memory.usage_in_bytes");
        out.memory_peak_bytes = number_of(memory_, prefix + "memory.max_usage_in_bytes");
    }
    return out;
}

std::uint64_t CgroupCounters::oom_kills(std::uint64_t number) const {
    const char* name = v2_ ? "memory.events" : "memory.oom_control";
    return keyed_of(memory_, leaf(number) + name, "oom_kill").value_or(0);
}

// v1 has no leaves in this tree: "work" is the group of all programs.
std::uint64_t CgroupCounters::forks_refused() const { return keyed_of(pids_, v2_ ? "pids.events" : "work/pids.events", "max").value_or(0); }

std::uint64_t CgroupCounters::forks_refused(std::uint64_t number) const {
    return v2_ ? keyed_of(pids_, leaf(number) + "pids.events", "max").value_or(0) : 0;
}

}  // namespace sandboxd::engine
