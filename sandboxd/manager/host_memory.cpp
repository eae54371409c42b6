#include "sandboxd/manager/host_memory.hpp"

#include <charconv>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::manager {

namespace {

Result<std::uint64_t> kilobytes_of(std::string_view text, std::string_view name) {
    const auto at = text.find(name);
    if (at == std::string_view::npos) return Error{Errc::internal, "/proc/meminfo", std::string{name} + " is missing"};
    std::string_view rest = text.substr(at + name.size());
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    std::uint64_t value = 0;
    if (std::from_chars(rest.data(), rest.data() + rest.size(), value).ec != std::errc{}) {
        return Error{Errc::internal, "/proc/meminfo", std::string{name} + " is no number"};
    }
    return value;
}

}  // namespace

Result<HostMemory> parse_meminfo(std::string_view text) {
    SBX_TRY(const std::uint64_t total, kilobytes_of(text, "MemTotal:"));
    SBX_TRY(const std::uint64_t available, kilobytes_of(text, "MemAvailable:"));
    return HostMemory{total * 1024, available * 1024};
}

Result<HostMemory> read_host_memory() {
    SBX_TRY(const std::string text, sys::read_file("/proc/meminfo"));
    return parse_meminfo(text);
}

}  // namespace sandboxd::manager
