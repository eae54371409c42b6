// What the jail shows of the host and of itself: /dev, /proc, /sys, other processes.
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "isolation/probe/finding.hpp"

namespace sandboxd::probe {

namespace {

bool is_harmless(dev_t device) {
    constexpr unsigned kMemory[] = {3, 5, 7, 8, 9};  // null zero full random urandom
    if (::major(device) == 5) return ::minor(device) == 0;  // tty
    if (::major(device) != 1) return false;
    for (const unsigned minor : kMemory) {
        if (::minor(device) == minor) return true;
    }
    return false;
}

void device_nodes(Finding& finding, const Limits&) {
    DIR* const folder = ::opendir("/dev");
    if (folder == nullptr) return finding.bad("/dev can't be read");
    int nodes = 0;
    while (const dirent* const entry = ::readdir(folder)) {
        struct stat st {};
        if (::fstatat(::dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)) continue;
        ++nodes;
        if (S_ISBLK(st.st_mode) || !is_harmless(st.st_rdev)) finding.bad("/dev/%s", entry->d_name);
    }
    ::closedir(folder);
    finding.good("%d harmless nodes", nodes);
    for (const mode_t kind : {S_IFCHR, S_IFBLK}) {
        const int rc = ::mknod("sandbox-probe.node", kind | 0600, ::makedev(1, 3));
        finding.attempt("mknod", rc, {EPERM, ENOSYS});
        if (rc == 0) (void)::unlink("sandbox-probe.node");
    }
    finding.attempt("whiteout", ::syscall(SYS_renameat2, AT_FDCWD, "/sandbox-probe/a", AT_FDCWD, "/sandbox-probe/b", 4U), {EPERM, ENOSYS});
}

// Gone, closed, empty, or /dev/null in its place.
bool is_masked(const char* path) {
    const int fd = ::open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return errno != EAGAIN;
    struct stat st {};
    char byte = 0;
    const bool null = ::fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == ::makedev(1, 3);
    const bool masked = null || ::read(fd, &byte, 1) <= 0;
    ::close(fd);
    return masked;
}

bool is_empty_folder(const char* path) {
    DIR* const folder = ::opendir(path);
    if (folder == nullptr) return true;
    int entries = 0;
    while (const dirent* const entry = ::readdir(folder)) entries += entry->d_name[0] == '.' ? 0 : 1;
    ::closedir(folder);
    return entries == 0;
}

void proc_masks(Finding& finding, const Limits&) {
    constexpr const char* kFiles[] = {"cmdline", "config.gz", "interrupts", "iomem", "ioports", "kallsyms", "kcore", "key-users", "keys", "kmsg",
                                      "kpagecount", "kpageflags", "modules", "partitions", "sched_debug", "slabinfo", "softirqs", "timer_list",
                                      "vmallocinfo", "vmstat", "zoneinfo"};
    constexpr const char* kFolders[] = {"/sys/kernel", "/sys/firmware", "/sys/module", "/sys/block", "/proc/acpi", "/proc/scsi"};
    int masked = 0;
    for (const char* name : kFiles) {
        char path[64];
        (void)::snprintf(path, sizeof path, "/proc/%s", name);
        if (is_masked(path)) {
            ++masked;
        } else {
            finding.bad("%s", path);
        }
    }
    for (const char* path : kFolders) {
        if (is_empty_folder(path)) {
            ++masked;
        } else {
            finding.bad("%s", path);
        }
    }
    finding.good("%d files and folders show nothing", masked);
}

// Opened, never written: where it opens, that is enough to know.
void try_to_open(Finding& finding, const char* path) {
    const int fd = ::open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    finding.attempt(path, fd, {EROFS, EACCES, EPERM, ENOENT, ENOTDIR});
    if (fd >= 0) ::close(fd);
}

void sysctls(Finding& finding, const Limits&) {
    for (const char* path : {"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches",
                             "/proc/sys/user/max_user_namespaces"}) {
        try_to_open(finding, path);
    }
}

// Each line of /proc/self/cgroup ends with a path: "/" is the jail's own group, seen from its own cgroup namespace.
void cgroup_paths(Finding& finding) {
    FILE* const table = ::fopen("/proc/self/cgroup", "re");
    if (table == nullptr) return finding.bad("/proc/self/cgroup can't be read");
    char line[512];
    while (::fgets(line, sizeof line, table) != nullptr) {
        line[::strcspn(line, "\n")] = '\0';
        if (::strstr(line, "sandboxd") != nullptr || ::strstr(line, ".slice") != nullptr) finding.bad("a path of the host: %s", line);
    }
    ::fclose(table);
    finding.good("/proc/self/cgroup shows no path of the host");
}

void cgroup_files(Finding& finding, const Limits&) {
    for (const char* path : {"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs", "/sys/fs/cgroup/memory/tasks",
                             "/sys/fs/cgroup/memory/release_agent"}) {
        const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0) continue;
        finding.bad("%s opens for writing", path);
        ::close(fd);
    }
    finding.good("no cgroup file opens for writing");
    cgroup_paths(finding);
}

void other_processes(Finding& finding, const Limits&) {
    DIR* const folder = ::opendir("/proc");
    if (folder == nullptr) return finding.bad("/proc can't be read");
    int others = 0;
    while (const dirent* const entry = ::readdir(folder)) {
        if (::isdigit(static_cast<unsigned char>(entry->d_name[0])) != 0 && ::atoi(entry->d_name) != ::getpid()) ++others;
    }
    ::closedir(folder);
    if (others > 0) {
        finding.bad("%d processes can be seen", others);
    } else {
        finding.good("none can be seen");
    }
}

void init_process(Finding& finding, const Limits&) {
    rlimit limit{};
    const int memory = ::open("/proc/1/mem", O_RDWR | O_CLOEXEC);
    finding.attempt("its memory", memory, {ENOENT, EACCES, EPERM});
    if (memory >= 0) ::close(memory);
    finding.attempt("a signal", ::kill(1, 0), {EPERM, ESRCH});
    finding.attempt("its limits", ::prlimit(1, RLIMIT_NOFILE, nullptr, &limit), {EPERM, ESRCH, ENOSYS});
}

// A process can be in 16 Landlock domains, one in the other: how many of them are left shows how many there are.
int count_landlock_layers() {
    landlock_ruleset_attr attributes{};
    attributes.handled_access_fs = LANDLOCK_ACCESS_FS_EXECUTE;
    (void)::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    const long ruleset = ::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    if (ruleset < 0) return 99;
    int added = 0;
    while (added < 32 && ::syscall(SYS_landlock_restrict_self, static_cast<int>(ruleset), 0) == 0) ++added;
    return added;
}

void landlock(Finding& finding, const Limits&) {
    constexpr int kMost = 16;  // LANDLOCK_MAX_NUM_LAYERS
    const int status = in_child(count_landlock_layers);
    const int left = WIFEXITED(status) ? WEXITSTATUS(status) : 99;
    if (left > kMost) return finding.absent("this kernel or the filter has no Landlock");
    if (left == kMost) return finding.absent("no Landlock rules on programs in jails");
    finding.good("domains in force: %d", kMost - left);
}

}  // namespace

const WallAttempt kSurroundingAttempts[] = {
    {Wall::device_nodes, device_nodes}, {Wall::proc_masks, proc_masks},           {Wall::sysctls, sysctls},
    {Wall::cgroup_files, cgroup_files}, {Wall::other_processes, other_processes}, {Wall::init_process, init_process},
    {Wall::landlock, landlock},         {Wall::count, nullptr},
};

}  // namespace sandboxd::probe
