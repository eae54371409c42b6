#include "api/process_figures.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string>
#include <system_error>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::api {

namespace {

constexpr std::size_t kSmall = 64 * 1024;

// Field 2 of /proc/PID/stat is the program's name in parentheses, which may hold anything: count from behind it.
std::optional<std::uint64_t> stat_field(const std::string& text, int number) {
    const auto name_end = text.rfind(')');
    if (name_end == std::string::npos) return std::nullopt;
    std::istringstream words{text.substr(name_end + 1)};
    std::string word;
    for (int field = 3; field <= number; ++field) {
        if (!(words >> word)) return std::nullopt;
    }
    std::istringstream digits{word};
    std::uint64_t value = 0;
    if (!(digits >> value)) return std::nullopt;
    return value;
}

std::optional<double> boot_time() {
    const auto text = sys::read_file("/proc/stat", 16 << 20);
    if (!text) return std::nullopt;
    const auto at = text->find("\nbtime ");
    if (at == std::string::npos) return std::nullopt;
    std::istringstream words{text->substr(at + 7, 20)};
    double seconds = 0;
    if (!(words >> seconds)) return std::nullopt;
    return seconds;
}

std::optional<std::uint64_t> count_fds() {
    std::error_code failure;
    const std::filesystem::directory_iterator entries{"/proc/self/fd", failure};
    if (failure) return std::nullopt;
    const auto count = std::distance(begin(entries), end(entries));
    return static_cast<std::uint64_t>(std::max<std::ptrdiff_t>(count - 1, 0));  // without the one that looks
}

std::optional<std::uint64_t> fd_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::nullopt;
    return limit.rlim_cur;
}

void read_stat(ProcessFigures& figures) {
    const auto text = sys::read_file("/proc/self/stat", kSmall);
    if (!text) return;
    const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
    const auto user = stat_field(*text, 14);
    const auto system = stat_field(*text, 15);
    const auto start = stat_field(*text, 22);
    const auto resident = stat_field(*text, 24);
    if (user && system) figures.cpu_seconds = static_cast<double>(*user + *system) / ticks;
    if (resident) figures.resident_bytes = *resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    const auto boot = boot_time();
    if (start && boot) figures.start_unix_seconds = *boot + static_cast<double>(*start) / ticks;
}

}  // namespace

ProcessFigures process_figures() {
    ProcessFigures figures;
    read_stat(figures);
    figures.open_fds = count_fds();
    figures.max_fds = fd_limit();
    return figures;
}

}  // namespace sandboxd::api
