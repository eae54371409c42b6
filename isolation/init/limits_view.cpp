#include "isolation/init/limits_view.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "isolation/init/counters.hpp"
#include "isolation/init/kernel.hpp"
#include "isolation/init/stages.hpp"

namespace sandboxd::init {

namespace {

constexpr unsigned kInert = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
constexpr std::uint64_t kNsPerTick = 1'000'000'000 / kTicksPerSecond;

Text<8192> g_page;

// Readers are not locked out. New bytes go over the old ones in one write, and only then a longer tail is cut: nobody
// finds the file empty.
bool replace(int fd, std::string_view text) {
    struct stat st {};
    if (::pwrite(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()) || ::fstat(fd, &st) != 0) return false;
    return static_cast<std::size_t>(st.st_size) <= text.size() || ::ftruncate(fd, static_cast<off_t>(text.size())) == 0;
}

bool make_file(const char* path, int* keep, std::string_view text = {}) {
    const int fd = ::open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0444);
    if (fd < 0 || !replace(fd, text)) return false;
    if (keep == nullptr) {
        ::close(fd);
    } else {
        *keep = fd;
    }
    return true;
}

// ---- which CPUs ------------------------------------------------------------------------------------------------

// `wanted` of the allowed ones, one after another from the sandbox's own place in their list on, so that sandboxes spread
// over the machine. All of them when the quota is worth as many.
void choose_cpus(JailState& jail) {
    LimitsView& view = jail.view;
    const auto allowed = static_cast<std::uint32_t>(CPU_COUNT(&view.allowed));
    const std::uint32_t limit = read_cpu_limit(jail);
    const std::uint32_t wanted = limit == 0 || limit > allowed ? allowed : limit;
    CPU_ZERO(&view.cpus);
    view.count = wanted;
    if (allowed == 0) return;
    std::uint32_t skip = jail.plan.first_cpu % allowed;
    for (std::uint32_t left = wanted, cpu = 0; left > 0; cpu = (cpu + 1) % CPU_SETSIZE) {
        if (!CPU_ISSET(cpu, &view.allowed)) continue;
        if (skip > 0) {
            --skip;
            continue;
        }
        CPU_SET(cpu, &view.cpus);
        --left;
    }
}

// "0-1,4": as sysfs writes a set.
template <std::size_t N>
void add_list(Text<N>& out, const cpu_set_t& cpus) {
    bool first = true;
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &cpus)) continue;
        std::size_t last = cpu;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &cpus)) ++last;
        out.add(first ? "" : ",").add(cpu);
        if (last > cpu) out.add("-").add(last);
        first = false;
        cpu = last;
    }
    out.add("\n");
}

bool write_below(int dir, const char* name, std::string_view text) {
    const int fd = ::openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0444);
    const bool done = fd >= 0 && replace(fd, text);
    ::close(fd);
    return done;
}

// The kernel's own numbers, not 0 to N-1: what tells a thread where it runs (getcpu, rseq) tells those.
bool write_cpu_folder(const LimitsView& view) {
    if (view.count == 0) return true;
    g_page.cut(0);
    add_list(g_page, view.cpus);
    for (const char* name : {"online", "possible", "present"}) {
        if (!write_below(view.cpu_folder, name, g_page.view())) return false;
    }
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &view.allowed)) continue;
        Text<16> name;
        name.add("cpu").add(cpu);
        const bool shown = CPU_ISSET(cpu, &view.cpus);
        if (shown ? ::mkdirat(view.cpu_folder, name.c_str(), 0555) != 0 && errno != EEXIST
                  : ::unlinkat(view.cpu_folder, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
            return false;
        }
    }
    return true;
}

// The host's text has one block per CPU, "processor : N" first in it and an empty line after it.
bool write_cpuinfo(const JailState& jail) {
    struct stat st {};
    if (jail.cpu_info < 0 || ::fstat(jail.cpu_info, &st) != 0 || st.st_size == 0) return true;
    const auto size = static_cast<std::size_t>(st.st_size);
    void* const data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, jail.cpu_info, 0);
    if (data == MAP_FAILED) return false;
    std::string_view text{static_cast<const char*>(data), size};
    off_t at = 0;
    bool done = true;
    while (done && !text.empty()) {
        const std::size_t gap = text.find("\n\n");
        const std::string_view block = text.substr(0, gap == std::string_view::npos ? text.size() : gap + 2);
        text.remove_prefix(block.size());
        const std::size_t colon = block.find(": ");
        std::size_t cpu = 0;
        for (std::size_t i = colon + 2; i < block.size() && block[i] >= '0' && block[i] <= '9'; ++i) cpu = cpu * 10 + static_cast<std::size_t>(block[i] - '0');
        const bool is_cpu = block.substr(0, 9) == "processor" && colon != std::string_view::npos;
        if (is_cpu && jail.view.count != 0 && (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &jail.view.cpus))) continue;
        done = ::pwrite(jail.view.cpuinfo, block.data(), block.size(), at) == static_cast<ssize_t>(block.size());
        at += static_cast<off_t>(block.size());
    }
    ::munmap(data, size);
    return done && ::ftruncate(jail.view.cpuinfo, at) == 0;
}

// ---- what changes ----------------------------------------------------------------------------------------------

// Numbers keep their width, so that a reader who meets a write sees no shifted line.
void add_wide(std::uint64_t value, std::uint64_t width) {
    std::uint64_t digits = 1;
    for (std::uint64_t rest = value; rest >= 10; rest /= 10) ++digits;
    for (; digits < width; ++digits) g_page.add(" ");
    g_page.add(value);
}

void add_memory(std::string_view name, std::uint64_t bytes) {
    g_page.add(name).add(":");
    for (std::size_t i = name.size(); i < 15; ++i) g_page.add(" ");
    add_wide(bytes / 1024, 9);
    g_page.add(" kB\n");
}

bool write_meminfo(const JailState& jail) {
    const MemoryCounters memory = read_memory(jail);
    const std::uint64_t free = memory.limit - memory.used;
    const std::uint64_t available = free + memory.active_file + memory.inactive_file;
    const std::uint64_t known = memory.cached + memory.anonymous;
    const std::uint64_t slab = memory.used > known ? memory.used - known : 0;
    g_page.cut(0);
    add_memory("MemTotal", memory.limit);
    add_memory("MemFree", free);
    add_memory("MemAvailable", available < memory.limit ? available : memory.limit);
    add_memory("Buffers", 0);
    add_memory("Cached", memory.cached);
    add_memory("SwapCached", 0);
    add_memory("Active", memory.active_anonymous + memory.active_file);
    add_memory("Inactive", memory.inactive_anonymous + memory.inactive_file);
    add_memory("Active(anon)", memory.active_anonymous);
    add_memory("Inactive(anon)", memory.inactive_anonymous);
    add_memory("Active(file)", memory.active_file);
    add_memory("Inactive(file)", memory.inactive_file);
    add_memory("Unevictable", 0);
    add_memory("Mlocked", 0);
    add_memory("SwapTotal", 0);
    add_memory("SwapFree", 0);
    add_memory("Dirty", memory.dirty);
    add_memory("Writeback", 0);
    add_memory("AnonPages", memory.anonymous);
    add_memory("Mapped", memory.mapped);
    add_memory("Shmem", memory.shared);
    add_memory("Slab", slab);
    add_memory("SReclaimable", 0);
    add_memory("SUnreclaim", slab);
    add_memory("CommitLimit", memory.limit);
    add_memory("Committed_AS", memory.used);
    add_memory("VmallocTotal", 0);
    add_memory("VmallocUsed", 0);
    add_memory("Hugepagesize", 2 << 20);
    return g_page.ok() && replace(jail.view.meminfo, g_page.view());
}

void add_times(std::uint64_t user, std::uint64_t system, std::uint64_t idle) {
    g_page.add(" ").add(user).add(" 0 ").add(system).add(" ").add(idle).add(" 0 0 0 0 0 0\n");
}

bool write_stat(const JailState& jail, std::uint64_t now_ns, const CpuTicks& used, std::uint32_t running, std::uint32_t last_pid) {
    const LimitsView& view = jail.view;
    const std::uint64_t passed = (now_ns - view.started_ns) / kNsPerTick;
    const std::uint64_t count = view.count == 0 ? 1 : view.count;
    const std::uint64_t busy = (used.user + used.system) / count;
    const std::uint64_t idle = passed > busy ? passed - busy : 0;
    g_page.cut(0);
    g_page.add("cpu ");
    add_times(used.user, used.system, idle * count);
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (!CPU_ISSET(cpu, &view.cpus)) continue;
        const std::size_t before = g_page.size();
        g_page.add("cpu").add(cpu);
        add_times(used.user / count, used.system / count, idle);
        if (g_page.size() > 8192 - 256) {  // room for the rest; nobody has so many
            g_page.cut(before);
            break;
        }
    }
    g_page.add("intr 0\nctxt 0\nbtime ").add(view.started_seconds).add("\nprocesses ").add(last_pid);
    g_page.add("\nprocs_running ").add(running == 0 ? 1 : running).add("\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n");
    return g_page.ok() && replace(view.stat, g_page.view());
}

void add_hundredths(std::uint64_t value) {
    const std::uint64_t hundredths = value * 100 / 1024;
    g_page.add(hundredths / 100).add(".").add(hundredths / 10 % 10).add(hundredths % 10).add(" ");
}

// The kernel counts no runnable processes per group. CPUs kept busy are the load of a sandbox that is not at its quota,
// and the quota that of one that is.
bool write_loadavg(LimitsView& view, std::uint64_t now_ns, const CpuTicks& used, std::uint32_t running, std::uint32_t last_pid) {
    constexpr std::uint64_t kMinutes[] = {1, 5, 15};
    const std::uint64_t ticks = (now_ns - view.written_ns) / kNsPerTick;
    const std::uint64_t total = used.user + used.system;
    const std::uint64_t worked = total > view.used_ticks ? total - view.used_ticks : 0;
    if (ticks > 0) {
        const std::uint64_t busy = worked * 1024 / ticks;
        for (int i = 0; i < 3; ++i) {
            // One implicit step of a decaying mean: right for any length of it, also after an idle hour.
            const std::uint64_t span = kMinutes[i] * 60 * kTicksPerSecond;
            view.loads[i] = (view.loads[i] * span + busy * ticks) / (span + ticks);
        }
        view.used_ticks = total;
    }
    g_page.cut(0);
    for (const std::uint64_t load : view.loads) add_hundredths(load);
    g_page.add(running).add("/").add(running + 1).add(" ").add(last_pid).add("\n");
    return replace(view.loadavg, g_page.view());
}

// PID 1 takes the workload's CPUs itself, and what it starts is born there: a child that took them would have to move first,
// on every second exec of a machine with two CPUs.
bool take_cpus(const LimitsView& view) { return view.count == 0 || ::sched_setaffinity(0, sizeof view.cpus, &view.cpus) == 0; }

// ---- set-up ----------------------------------------------------------------------------------------------------

// The kernel's is the host's: one value for all sandboxes, by which two could find each other.
bool make_boot_id() {
    std::uint8_t bytes[16];
    if (::getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes)) return false;
    bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0F) | 0x40);  // a random UUID
    bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3F) | 0x80);
    constexpr char kDigits[] = "0123456789abcdef";
    Text<40> text;
    for (std::size_t i = 0; i < sizeof bytes; ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text.add("-");
        const char pair[] = {kDigits[bytes[i] >> 4], kDigits[bytes[i] & 15]};
        text.add({pair, 2});
    }
    text.add("\n");
    return make_file("proc/boot_id", nullptr, text.view());
}

bool make_folders(LimitsView& view) {
    for (const char* path : {"sys/devices", "sys/devices/system", "sys/devices/system/cpu"}) {
        if (::mkdir(path, 0755) != 0) return false;
    }
    // PID 1 changes it later, when it is this user and nothing else.
    if (::chown("sys/devices/system/cpu", isolation::kInitId, isolation::kInitId) != 0) return false;
    view.cpu_folder = ::open("sys/devices/system/cpu", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (view.cpu_folder < 0 || !write_cpu_folder(view)) return false;
    if (view.count == 0) return true;
    for (const char* name : {"online", "possible", "present"}) {
        if (::fchownat(view.cpu_folder, name, isolation::kInitId, isolation::kInitId, 0) != 0 || ::fchmodat(view.cpu_folder, name, 0644, 0) != 0) return false;
    }
    return write_below(view.cpu_folder, "offline", "\n");
}

bool make_files(LimitsView& view) {
    return make_file("proc/cpuinfo", &view.cpuinfo) && make_file("proc/meminfo", &view.meminfo) && make_file("proc/stat", &view.stat) &&
           make_file("proc/loadavg", &view.loadavg) && make_file("proc/swaps", nullptr, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n") &&
           make_boot_id();
}

}  // namespace

// In the stage, which is the working directory. uptime needs no file: the clocks of the jail began with it.
int limits_view(JailState& jail) {
    LimitsView& view = jail.view;
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    view.started_seconds = static_cast<std::uint64_t>(now.tv_sec);
    view.started_ns = view.written_ns = boot_time_ns();
    CPU_ZERO(&view.allowed);
    // A machine with more CPUs than fit: then none is hidden and no set is asked for.
    if (::sched_getaffinity(0, sizeof view.allowed, &view.allowed) != 0) CPU_ZERO(&view.allowed);
    choose_cpus(jail);
    if (!make_folders(view) || !make_files(view) || !write_cpuinfo(jail)) return -1;
    (void)refresh_view(jail, view.started_ns, 0, 1);
    for (const char* name : {"proc/cpuinfo", "proc/meminfo", "proc/stat", "proc/loadavg", "proc/swaps"}) {
        if (show(jail, jail.stage, name, name, MOUNT_ATTR_RDONLY | kInert) != 0) return -1;
    }
    return take_cpus(view) ? 0 : -1;
}

bool refresh_view(JailState& jail, std::uint64_t now_ns, std::uint32_t running, std::uint32_t last_pid) {
    LimitsView& view = jail.view;
    const cpu_set_t before = view.cpus;
    choose_cpus(jail);
    const CpuTicks used = read_cpu(jail);
    // What fails here leaves an older figure: nothing that a program could be stopped for.
    (void)write_meminfo(jail);
    (void)write_stat(jail, now_ns, used, running, last_pid);
    (void)write_loadavg(view, now_ns, used, running, last_pid);
    view.written_ns = now_ns;
    if (CPU_EQUAL(&before, &view.cpus)) return false;
    (void)write_cpu_folder(view);
    (void)write_cpuinfo(jail);
    (void)take_cpus(view);
    return true;
}

}  // namespace sandboxd::init
