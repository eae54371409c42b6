// The jail's set-up, step by step, in the order of the table at the end. Runs as root of the jail's outer user namespace
// (U1) with all capabilities over the jail's own namespaces and none over the host's.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "isolation/init/jail_state.hpp"
#include "isolation/init/kernel.hpp"

// <sys/mount.h> and <linux/mount.h> clash before glibc 2.37.
extern "C" int mount(const char*, const char*, const char*, unsigned long, const void*);
extern "C" int umount2(const char*, int);

namespace sandboxd::init {

using isolation::FdRole;
using isolation::Stage;

namespace {

constexpr unsigned long kMsRec = 16384;
constexpr unsigned long kMsPrivate = 1UL << 18;
constexpr unsigned long kMsSlave = 1UL << 19;
constexpr unsigned long kMsNosuid = 2;
constexpr unsigned long kMsNodev = 4;
constexpr int kMntDetach = 2;

std::byte g_plan_bytes[isolation::kMaxPlanBytes];  // the plan's strings point in here for the life of the process

bool take_descriptor(JailState& jail, FdRole role, int fd) {
    switch (role) {
        case FdRole::upper_mount: jail.upper = fd; return true;
        case FdRole::lower_mount:
            if (jail.lower_count == kMaxLowers) return false;
            jail.lowers[jail.lower_count++] = fd;
            return true;
        case FdRole::bind_mount:
            if (jail.bind_count == isolation::kMaxBinds) return false;
            jail.binds[jail.bind_count++] = fd;
            return true;
        case FdRole::agent_listener: jail.agent_listener = fd; return true;
        case FdRole::leaf_unified: jail.leaf_unified = fd; return true;
        case FdRole::leaf_memory: jail.leaf_memory = fd; return true;
        case FdRole::leaf_cpuacct: jail.leaf_cpuacct = fd; return true;
        case FdRole::join_procs:
            if (jail.join_count == kMaxJoin) return false;
            jail.join_procs[jail.join_count++] = fd;
            return true;
    }
    return false;
}

int invalid(int error) {
    errno = error;
    return -1;
}

int receive_plan(JailState& jail) {
    const Incoming in = receive_with_fds(isolation::kSetupSocket, g_plan_bytes, sizeof g_plan_bytes, 0);
    if (in.size <= 0) return in.size == 0 ? invalid(EPIPE) : -1;
    wire::Reader reader{g_plan_bytes, static_cast<std::size_t>(in.size)};
    if (!reader(jail.plan) || !reader.done()) return invalid(EBADMSG);
    if (jail.plan.magic != isolation::kPlanMagic || jail.plan.version != isolation::kPlanVersion) return invalid(EPROTO);
    if (jail.plan.fd_roles.size() != in.fd_count || jail.plan.rlimit_count > isolation::kMaxRlimits) return invalid(EBADMSG);
    for (std::size_t i = 0; i < in.fd_count; ++i) {
        if (!take_descriptor(jail, static_cast<FdRole>(jail.plan.fd_roles[i]), in.fds[i])) return invalid(EBADMSG);
    }
    if (jail.upper < 0 || jail.lower_count == 0 || jail.agent_listener < 0 || jail.leaf_unified < 0) return invalid(EBADMSG);
    return 0;
}

// Nothing that happens in this mount namespace may propagate to the host's (mount_namespaces(7)).
int private_mounts(JailState&) { return ::mount(nullptr, "/", nullptr, kMsRec | kMsPrivate, nullptr); }

int attach(int mount, const char* name) {
    if (::mkdir(name, 0700) != 0) return -1;
    const int target = ::open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (target < 0) return -1;
    const int rc = sys_move_mount(mount, target);
    ::close(target);
    ::close(mount);  // kept, it would be a way to a layer around the overlay
    return rc;
}

// The overlay is mounted here, in the jail's user namespace, with `userxattr`: overlayfs works with its mounter's
// credentials, and over an id-mapped upper those must be of this namespace (kernel 5.19). Its layers are reached by
// one-letter relative names in a tmpfs, so that /proc/self/mountinfo shows no path of the host. `volatile`: fsync inside
// a sandbox does not wait for the host's disk; what a power cut loses is a sandbox that is gone anyway.
int root_overlay(JailState& jail) {
    const MountOption options[] = {{"size", "1m"}, {"mode", "0700"}};
    const int stage = new_mount("tmpfs", options, 2, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    const int place = ::open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (stage < 0 || place < 0 || sys_move_mount(stage, place) != 0 || ::fchdir(stage) != 0) return -1;
    ::close(place);
    ::close(stage);
    if (attach(jail.upper, "u") != 0) return -1;
    Text<256> layers;
    layers.add("lowerdir=");
    for (std::size_t i = 0; i < jail.lower_count; ++i) {
        Text<8> name;
        name.add("l").add(i);
        if (attach(jail.lowers[i], name.c_str()) != 0) return -1;
        layers.add(i == 0 ? "" : ":").add(name.view());
    }
    layers.add(",upperdir=u/u,workdir=u/w,userxattr,volatile");
    if (!layers.ok() || ::mkdir("m", 0700) != 0) return -1;
    if (::mount("overlay", "m", "overlay", kMsNosuid | kMsNodev, layers.c_str()) != 0) return -1;
    jail.new_root = ::open("m", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return jail.new_root < 0 ? -1 : 0;
}

// From here on, targets below the new root are opened without following any symlink: an image's /proc or /dev may be one
// (CVE-2025-31133, CVE-2026-41579).
int attach_below(int root, const char* path, int mount) {
    const int target = open_below(root, path, O_PATH | O_DIRECTORY);
    if (target < 0) return -1;
    const int rc = sys_move_mount(mount, target);
    ::close(target);
    return rc;
}

int binds(JailState& jail) {
    for (std::size_t i = 0; i < jail.bind_count; ++i) {
        Text<256> path;
        path.add(jail.plan.binds[i]);
        if (!path.ok() || path.size() < 2) return invalid(EINVAL);
        if (attach_below(jail.new_root, path.c_str() + 1, jail.binds[i]) != 0) return -1;
        ::close(jail.binds[i]);
    }
    return 0;
}

// A full procfs of the new pid namespace: `subset=pid` breaks real programs. hidepid: processes of other users, PID 1
// first of all, don't exist for a user (proc(5); the word form is kernel 5.8).
int proc(JailState& jail) {
    const MountOption options[] = {{"hidepid", "invisible"}};
    const int mount = new_mount("proc", options, 1, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (mount < 0 || attach_below(jail.new_root, "proc", mount) != 0) return -1;
    jail.user_sysctls = open_below(mount, "sys/user", O_PATH | O_DIRECTORY);
    ::close(mount);
    return jail.user_sysctls < 0 ? -1 : 0;
}

// Read-only sysfs where the kernel allows one (this user namespace owns the network namespace); where an outer container
// hides parts of /sys the kernel refuses (EPERM) and an empty folder takes its place.
int sys(JailState& jail) {
    constexpr unsigned kAttributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY;
    int mount = new_mount("sysfs", nullptr, 0, kAttributes);
    if (mount < 0 && errno == EPERM) mount = new_mount("tmpfs", nullptr, 0, kAttributes);
    if (mount < 0 || attach_below(jail.new_root, "sys", mount) != 0) return -1;
    ::close(mount);
    return 0;
}

struct Device {
    const char* host;
    const char* name;
    unsigned minor;
    unsigned major;
};
constexpr Device kDevices[] = {{"/dev/null", "null", 3, 1},   {"/dev/zero", "zero", 5, 1},       {"/dev/full", "full", 7, 1},
                               {"/dev/random", "random", 8, 1}, {"/dev/urandom", "urandom", 9, 1}, {"/dev/tty", "tty", 0, 5}};

// mknod needs a capability over the host's user namespace, so the host's nodes are bound; each is checked to be the
// device that its name says.
int add_device(JailState& jail, int dev, const Device& device) {
    const int node = sys_open_tree(AT_FDCWD, device.host, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    struct stat st {};
    if (node < 0 || ::fstat(node, &st) != 0) return -1;
    if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(device.major, device.minor)) return invalid(ENODEV);
    const int file = ::openat(dev, device.name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (file < 0) return -1;
    ::close(file);
    const int target = ::openat(dev, device.name, O_PATH | O_CLOEXEC | O_NOFOLLOW);
    if (target < 0) return -1;
    if (sys_move_mount(node, target) != 0) return -1;
    ::close(target);
    if (jail.null_mount < 0) {  // the first device: copies of the same, verified inode mask files later
        jail.null_mount = node;
    } else {
        ::close(node);
    }
    return 0;
}

int dev(JailState& jail) {
    const MountOption options[] = {{"size", "1m"}, {"nr_inodes", "256"}, {"mode", "0755"}};
    const int mount = new_mount("tmpfs", options, 3, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    if (mount < 0 || attach_below(jail.new_root, "dev", mount) != 0) return -1;
    for (const Device& device : kDevices) {
        if (add_device(jail, mount, device) != 0) return -1;
    }
    constexpr const char* kLinks[][2] = {{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
                                         {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"}};
    for (const auto& link : kLinks) {
        if (::symlinkat(link[0], mount, link[1]) != 0) return -1;
    }
    if (::mkdirat(mount, "pts", 0755) != 0 || ::mkdirat(mount, "shm", 0755) != 0) return -1;
    Text<16> max;
    max.add(jail.plan.pty_max);
    const MountOption pts_options[] = {{"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", "5"}, {"max", max.c_str()}};
    const int pts = new_mount("devpts", pts_options, 4, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    if (pts < 0 || attach_below(mount, "pts", pts) != 0) return -1;
    ::close(pts);
    // Nobody adds names to /dev; the nodes, pts and shm are mounts of their own.
    if (sys_mount_attributes(mount, MOUNT_ATTR_RDONLY) != 0) return -1;
    ::close(mount);
    return 0;
}

// POSIX shared memory is memory of the sandbox (its memory cgroup is charged); the size keeps one from filling it all.
int shm(JailState& jail) {
    Text<32> size;
    Text<16> inodes;
    size.add(jail.plan.shm_bytes);
    inodes.add(jail.plan.shm_inodes == 0 ? 4096 : jail.plan.shm_inodes);
    const MountOption options[] = {{"size", size.c_str()}, {"nr_inodes", inodes.c_str()}, {"mode", "1777"}};
    const int mount = new_mount("tmpfs", options, 3, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    if (mount < 0 || attach_below(jail.new_root, "dev/shm", mount) != 0) return -1;
    ::close(mount);
    return 0;
}

// What of /proc and /sys tells about the host or acts on it. Missing ones are fine: kernels differ.
constexpr const char* kHiddenFolders[] = {"proc/acpi", "proc/asound", "proc/driver", "proc/scsi", "proc/dynamic_debug", "sys/firmware", "sys/kernel",
                                          "sys/fs", "sys/power", "sys/devices/virtual/powercap", "sys/devices/virtual/dmi",
                                          "sys/module", "sys/block", "sys/dev", "sys/bus", "sys/class", "sys/hypervisor", "proc/pressure"};
constexpr const char* kHiddenFiles[] = {"proc/cmdline", "proc/config.gz", "proc/diskstats", "proc/dma", "proc/interrupts", "proc/iomem",
                                        "proc/ioports", "proc/kallsyms", "proc/kcore", "proc/key-users", "proc/keys", "proc/kmsg", "proc/kpagecgroup",
                                        "proc/kpagecount", "proc/kpageflags", "proc/latency_stats", "proc/locks", "proc/mdstat", "proc/modules",
                                        "proc/mtrr", "proc/pagetypeinfo", "proc/buddyinfo", "proc/partitions", "proc/sched_debug", "proc/schedstat",
                                        "proc/slabinfo", "proc/softirqs", "proc/swaps", "proc/sysrq-trigger", "proc/timer_list", "proc/timer_stats",
                                        "proc/vmallocinfo", "proc/vmstat", "proc/zoneinfo"};
constexpr const char* kReadOnlyFolders[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys"};

// `mount` has to be attached somewhere: before 6.15 the kernel copies no detached mount (EINVAL).
int cover(JailState& jail, const char* path, int mount, std::uint64_t kind) {
    const int target = open_below(jail.new_root, path, O_PATH | kind);
    if (target < 0) return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    const int copy = sys_open_tree(mount, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    const int rc = copy < 0 ? -1 : sys_move_mount(copy, target);
    ::close(copy);
    ::close(target);
    return rc;
}

int make_read_only(JailState& jail, const char* path) {
    const int target = open_below(jail.new_root, path, O_PATH | O_DIRECTORY);
    if (target < 0) return errno == ENOENT ? 0 : -1;
    const int copy = sys_open_tree(target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (copy < 0 || sys_mount_attributes(copy, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC) != 0) return -1;
    const int rc = sys_move_mount(copy, target);
    ::close(copy);
    ::close(target);
    return rc;
}

int masks(JailState& jail) {
    const MountOption options[] = {{"size", "4k"}, {"nr_inodes", "2"}, {"mode", "0555"}};
    const int empty = new_mount("tmpfs", options, 3, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    // Its place is in the folder of root_overlay, which is still the cwd and goes with the old root.
    if (empty < 0 || ::mkdir("e", 0700) != 0) return -1;
    const int place = ::open("e", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (place < 0 || sys_move_mount(empty, place) != 0) return -1;
    ::close(place);
    for (const char* path : kHiddenFolders) {
        if (cover(jail, path, empty, O_DIRECTORY) != 0) return -1;
    }
    ::close(empty);
    for (const char* path : kHiddenFiles) {
        if (cover(jail, path, jail.null_mount, 0) != 0) return -1;
    }
    ::close(jail.null_mount);
    for (const char* path : kReadOnlyFolders) {
        if (make_read_only(jail, path) != 0) return -1;
    }
    return 0;
}

// pivot_root(2): "." over "." stacks the old root on the new one and lets it be unmounted without a place for it. The
// old root goes with everything that was staged; then no path leads to the host.
int pivot(JailState& jail) {
    const int old_root = ::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (old_root < 0 || ::fchdir(jail.new_root) != 0 || sys_pivot_root_here() != 0) return -1;
    if (::fchdir(old_root) != 0 || ::mount(nullptr, ".", nullptr, kMsRec | kMsSlave, nullptr) != 0) return -1;
    if (::umount2(".", kMntDetach) != 0 || ::chdir("/") != 0) return -1;
    ::close(old_root);
    ::close(jail.new_root);
    // A cwd outside of the root would be a way out (CVE-2024-21626): the kernel then says "(unreachable)".
    char cwd[16];
    const char* here = ::getcwd(cwd, sizeof cwd);
    return here != nullptr && ::strcmp(here, "/") == 0 ? 0 : invalid(EXDEV);
}

int loopback(JailState&) {
    const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket < 0) return -1;
    ifreq request{};
    ::strcpy(request.ifr_name, "lo");
    int rc = ::ioctl(socket, SIOCGIFFLAGS, &request);
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    if (rc == 0) rc = ::ioctl(socket, SIOCSIFFLAGS, &request);
    ::close(socket);
    return rc;
}

int hostname(JailState& jail) { return ::sethostname(jail.plan.hostname.data(), jail.plan.hostname.size()); }

// Keyrings are not namespaced (keyrings(7)): without this the jail would share the session keyring of the daemon.
int keyring(JailState&) {
    const long rc = ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);
    return rc < 0 && errno != ENOSYS ? -1 : 0;
}

// Limits of this user namespace and all below it (namespaces(7), kernel 4.9). One more user namespace is made in the
// next stage; the limit counts it, so that nothing inside can make another, also without seccomp. inotify instances are
// charged per user up to the namespace's owner: unlimited, one sandbox could use up the host's.
// max_mnt_namespaces last: making a detached mount counts as one.
int sysctls(JailState& jail) {
    struct Limit {
        const char* name;
        std::uint64_t value;
    };
    const Limit limits[] = {{"max_user_namespaces", 1},   {"max_pid_namespaces", 0},  {"max_uts_namespaces", 0}, {"max_ipc_namespaces", 0},
                            {"max_net_namespaces", 0},    {"max_cgroup_namespaces", 0}, {"max_time_namespaces", 0},
                            {"max_inotify_instances", jail.plan.max_user_inotify_instances},
                            {"max_inotify_watches", jail.plan.max_user_inotify_watches},
                            {"max_fanotify_groups", 0},   {"max_fanotify_marks", 0},  {"max_mnt_namespaces", 0}};
    for (const Limit& limit : limits) {
        Text<24> value;
        value.add(limit.value);
        if (write_file(jail.user_sysctls, limit.name, value.view()) != 0 && errno != ENOENT) return -1;
    }
    ::close(jail.user_sysctls);
    return 0;
}

[[noreturn]] void userns_holder(int ready, int wait) {
    constexpr auto kId = isolation::kInitId;
    char byte = 0;
    // The creator's effective uid owns the namespace, and the owner has every capability over it from outside
    // (user_namespaces(7)): that is how PID 1, without any capability of its own, starts and signals the workload.
    if (::setgroups(0, nullptr) != 0 || ::setresgid(kId, kId, kId) != 0 || ::setresuid(kId, kId, kId) != 0 ||
        ::unshare(CLONE_NEWUSER) != 0) {
        ::_exit(errno);
    }
    if (::write(ready, "r", 1) != 1) ::_exit(errno);
    (void)!::read(wait, &byte, 1);
    ::_exit(0);
}

int workload_userns(JailState& jail) {
    int ready[2];
    int done[2];
    if (::pipe2(ready, O_CLOEXEC) != 0 || ::pipe2(done, O_CLOEXEC) != 0) return -1;
    const pid_t child = ::fork();
    if (child < 0) return -1;
    if (child == 0) {
        ::close(done[1]);
        userns_holder(ready[1], done[0]);
    }
    ::close(ready[1]);
    ::close(done[0]);
    char byte = 0;
    int rc = ::read(ready[0], &byte, 1) == 1 ? 0 : -1;
    if (rc == 0) {
        Text<32> map;
        map.add("0 0 ").add(isolation::kWorkloadIds);
        Text<32> path;
        path.add("/proc/").add(static_cast<std::uint64_t>(child));
        const std::size_t base = path.size();
        rc = write_file(AT_FDCWD, path.add("/uid_map").c_str(), map.view());
        path.cut(base);
        if (rc == 0) rc = write_file(AT_FDCWD, path.add("/gid_map").c_str(), map.view());
        path.cut(base);
        if (rc == 0) rc = jail.workload_userns = ::open(path.add("/ns/user").c_str(), O_RDONLY | O_CLOEXEC);
    }
    const int saved = errno;
    ::close(ready[0]);
    ::close(done[1]);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (rc >= 0) return 0;
    errno = WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : saved;
    return -1;
}

// PID 1 keeps nothing: an id that the workload's namespace has no name for, no capability, no way to gain one. Not
// dumpable: no /proc/1/mem, no ptrace, also not for the jail's own root.
int drop_privileges(JailState&) {
    constexpr auto kId = isolation::kInitId;
    if (::setgroups(0, nullptr) != 0 || ::setresgid(kId, kId, kId) != 0 || ::setresuid(kId, kId, kId) != 0) return -1;
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return -1;
    ::umask(022);
    return ::setresuid(0, 0, 0) == 0 ? invalid(EPERM) : 0;
}

struct StageEntry {
    Stage stage;
    int (*run)(JailState&);
};

constexpr StageEntry kStages[] = {
    {Stage::receive_plan, receive_plan},
    {Stage::private_mounts, private_mounts},
    {Stage::root_overlay, root_overlay},
    {Stage::binds, binds},
    {Stage::proc, proc},
    {Stage::sys, sys},
    {Stage::dev, dev},
    {Stage::shm, shm},
    {Stage::masks, masks},
    {Stage::pivot, pivot},
    {Stage::loopback, loopback},
    {Stage::hostname, hostname},
    {Stage::keyring, keyring},
    {Stage::sysctls, sysctls},
    {Stage::workload_userns, workload_userns},
    {Stage::drop_privileges, drop_privileges},
};

}  // namespace

Stage set_up(JailState& jail) {
    for (const StageEntry& entry : kStages) {
        if (entry.run(jail) != 0) return entry.stage;
    }
    return Stage::ready;
}

void print_stages() {
    for (const StageEntry& entry : kStages) {
        const char* name = isolation::stage_name(entry.stage);
        (void)!::write(1, name, ::strlen(name));
        (void)!::write(1, "\n", 1);
    }
}

}  // namespace sandboxd::init
