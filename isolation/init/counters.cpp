#include "isolation/init/counters.hpp"

#include <fcntl.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "isolation/init/kernel.hpp"

namespace sandboxd::init {

namespace {

char g_text[8192];

// Empty when there is no such file.
std::string_view read_text(int dir, const char* name) {
    if (dir < 0) return {};
    const int fd = ::openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return {};
    const ssize_t n = ::read(fd, g_text, sizeof g_text);
    ::close(fd);
    return n > 0 ? std::string_view{g_text, static_cast<std::size_t>(n)} : std::string_view{};
}

// The number that the text begins with; "max" and "-1" are no limit.
std::uint64_t number(std::string_view text, std::uint64_t otherwise) {
    std::uint64_t value = 0;
    std::size_t i = 0;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9' && i < 19; ++i) value = value * 10 + static_cast<std::uint64_t>(text[i] - '0');
    return i == 0 ? otherwise : value;
}

// "key number" on a line of its own.
std::uint64_t value_of(std::string_view text, std::string_view key) {
    while (!text.empty()) {
        if (text.size() > key.size() && text.substr(0, key.size()) == key && text[key.size()] == ' ') return number(text.substr(key.size() + 1), 0);
        const std::size_t end = text.find('\n');
        if (end == std::string_view::npos) break;
        text.remove_prefix(end + 1);
    }
    return 0;
}

void read_v1(int dir, MemoryCounters& out) {
    out.limit = number(read_text(dir, "memory.limit_in_bytes"), kUnlimited);
    out.used = number(read_text(dir, "memory.usage_in_bytes"), 0);
    const std::string_view stat = read_text(dir, "memory.stat");  // "total_": with the leaves below
    out.cached = value_of(stat, "total_cache");
    out.anonymous = value_of(stat, "total_rss");
    out.shared = value_of(stat, "total_shmem");
    out.mapped = value_of(stat, "total_mapped_file");
    out.dirty = value_of(stat, "total_dirty");
    out.active_anonymous = value_of(stat, "total_active_anon");
    out.inactive_anonymous = value_of(stat, "total_inactive_anon");
    out.active_file = value_of(stat, "total_active_file");
    out.inactive_file = value_of(stat, "total_inactive_file");
}

void read_v2(int dir, MemoryCounters& out) {
    out.limit = number(read_text(dir, "memory.max"), kUnlimited);
    out.used = number(read_text(dir, "memory.current"), 0);
    const std::string_view stat = read_text(dir, "memory.stat");
    out.cached = value_of(stat, "file");
    out.anonymous = value_of(stat, "anon");
    out.shared = value_of(stat, "shmem");
    out.mapped = value_of(stat, "file_mapped");
    out.dirty = value_of(stat, "file_dirty");
    out.active_anonymous = value_of(stat, "active_anon");
    out.inactive_anonymous = value_of(stat, "inactive_anon");
    out.active_file = value_of(stat, "active_file");
    out.inactive_file = value_of(stat, "inactive_file");
}

}  // namespace

MemoryCounters read_memory(const JailState& jail) {
    MemoryCounters out;
    if (jail.leaf_memory >= 0) {
        read_v1(jail.leaf_memory, out);
    } else {
        read_v2(jail.leaf_unified, out);
    }
    // Without the controller, or with a limit above the machine: the machine.
    struct sysinfo host {};
    if (::sysinfo(&host) == 0) {
        const std::uint64_t memory = std::uint64_t{host.totalram} * host.mem_unit;
        if (out.limit > memory) out.limit = memory;
    }
    if (out.used > out.limit) out.used = out.limit;
    return out;
}

CpuTicks read_cpu(const JailState& jail) {
    // The hierarchy of the memory leaves may hold cpuacct too.
    for (const int dir : {jail.leaf_cpuacct, jail.leaf_memory}) {
        const std::string_view text = read_text(dir, "cpuacct.stat");
        if (!text.empty()) return {value_of(text, "user"), value_of(text, "system")};
    }
    const std::string_view text = read_text(jail.leaf_unified, "cpu.stat");
    constexpr std::uint64_t kMicroseconds = 1'000'000 / kTicksPerSecond;
    return {value_of(text, "user_usec") / kMicroseconds, value_of(text, "system_usec") / kMicroseconds};
}

std::uint32_t read_cpu_limit(const JailState& jail) {
    std::uint64_t quota = kUnlimited;
    std::uint64_t period = 0;
    for (const int dir : {jail.limits_cpu, jail.leaf_cpuacct, jail.leaf_memory}) {
        quota = number(read_text(dir, "cpu.cfs_quota_us"), kUnlimited);
        period = number(read_text(dir, "cpu.cfs_period_us"), 0);
        if (period != 0) break;
    }
    if (period == 0) {
        const std::string_view text = read_text(jail.leaf_unified, "cpu.max");  // "quota period"
        const std::size_t space = text.find(' ');
        quota = number(text, kUnlimited);
        if (space != std::string_view::npos) period = number(text.substr(space + 1), 0);
    }
    if (period == 0 || quota == kUnlimited) return 0;
    const std::uint64_t cpus = (quota + period - 1) / period;
    return cpus == 0 ? 1 : static_cast<std::uint32_t>(cpus < CPU_SETSIZE ? cpus : CPU_SETSIZE);
}

}  // namespace sandboxd::init
