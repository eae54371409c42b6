// What of /proc tells about the host or acts on it. Each mask is a mount of a verified inode, made by descriptor; the mount
// namespace belongs to a user namespace in which the workload has no capability, so none can be taken away.
#include <fcntl.h>
#include <linux/mount.h>
#include <unistd.h>

#include "isolation/init/kernel.hpp"
#include "isolation/init/stages.hpp"

namespace sandboxd::init {

namespace {

constexpr unsigned kInert = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

// Missing ones are fine: kernels differ.
constexpr const char* kHiddenFolders[] = {"proc/acpi", "proc/asound", "proc/driver", "proc/dynamic_debug", "proc/pressure", "proc/scsi", "proc/tty"};
constexpr const char* kHiddenFiles[] = {"proc/allocinfo", "proc/bootconfig", "proc/buddyinfo", "proc/cmdline", "proc/config.gz", "proc/consoles",
                                        "proc/diskstats", "proc/dma", "proc/interrupts", "proc/iomem", "proc/ioports", "proc/kallsyms", "proc/kcore",
                                        "proc/key-users", "proc/keys", "proc/kmsg", "proc/kpagecgroup", "proc/kpagecount", "proc/kpageflags",
                                        "proc/latency_stats", "proc/lock_stat", "proc/lockdep", "proc/lockdep_chains", "proc/lockdep_stats",
                                        "proc/locks", "proc/mdstat", "proc/modules", "proc/mtrr", "proc/page_owner", "proc/pagetypeinfo",
                                        "proc/partitions", "proc/profile", "proc/sched_debug", "proc/schedstat", "proc/slabinfo", "proc/softirqs",
                                        "proc/sysrq-trigger", "proc/timer_list", "proc/timer_stats", "proc/vmallocinfo", "proc/vmcore",
                                        "proc/vmstat", "proc/zoneinfo"};
constexpr const char* kReadOnlyFolders[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys"};

bool is_missing() { return errno == ENOENT || errno == ENOTDIR; }

int make_read_only(const JailState& jail, const char* path) {
    const int target = open_below(jail.new_root, path, O_PATH | O_DIRECTORY);
    if (target < 0) return is_missing() ? 0 : -1;
    const int rc = show(jail, target, "", path, MOUNT_ATTR_RDONLY | kInert);
    ::close(target);
    return rc;
}

}  // namespace

int masks(JailState& jail) {
    for (const char* path : kHiddenFolders) {
        if (show(jail, jail.stage, "empty", path, MOUNT_ATTR_RDONLY | kInert) != 0 && !is_missing()) return -1;
    }
    for (const char* path : kHiddenFiles) {
        if (show(jail, jail.null_mount, "", path, 0) != 0 && !is_missing()) return -1;
    }
    ::close(jail.null_mount);
    for (const char* path : kReadOnlyFolders) {
        if (make_read_only(jail, path) != 0) return -1;
    }
    // After its folder: that mount shows what is below it without what was mounted there.
    if (show(jail, jail.stage, "proc/boot_id", "proc/sys/kernel/random/boot_id", MOUNT_ATTR_RDONLY | kInert) != 0 && !is_missing()) return -1;
    return 0;
}

}  // namespace sandboxd::init
