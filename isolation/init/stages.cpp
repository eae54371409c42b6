// The jail's set-up, step by step, in the order of the table at the end. Runs as root of the jail's outer user namespace
// (U1) with all capabilities over the jail's own namespaces and none over the host's.
#include "isolation/init/stages.hpp"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "isolation/init/kernel.hpp"

// As elsewhere in the init: <sys/mount.h> and <linux/mount.h> clash before glibc 2.37.
extern "C" int mount(const char*, const char*, const char*, unsigned long, const void*);
extern "C" int umount2(const char*, int);

namespace sandboxd::init {

using isolation::FdRole;
using isolation::Stage;

namespace {

constexpr unsigned long kMsRec = 16384;
constexpr unsigned long kMsPrivate = 1UL << 18;
constexpr unsigned long kMsSlave = 1UL << 19;
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
        case FdRole::limits_cpu: jail.limits_cpu = fd; return true;
        case FdRole::stage_mount: jail.stage = fd; return true;
        case FdRole::shm_mount: jail.shm = fd; return true;
        case FdRole::cpu_info: jail.cpu_info = fd; return true;
        case FdRole::sudo_client: jail.sudo_client = fd; return true;
    }
    return false;
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
int private_mounts(JailState&) {
    ::umask(022);  // what follows makes files: their modes are ours, not the daemon's umask's
    return ::mount(nullptr, "/", nullptr, kMsRec | kMsPrivate, nullptr);
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

// Those of the boot begin with the jail, as on a machine of its own: uptime, sysinfo(2) and the start times of processes
// say nothing of the host. PID 1 itself stays in the host's time namespace; its children are born into the new one
// (time_namespaces(7), kernel 5.6). Whole seconds: none goes below zero.
int clocks(JailState&) {
    if (::unshare(CLONE_NEWTIME) != 0) return -1;
    Text<96> offsets;
    struct Clock {
        clockid_t id;
        const char* name;
    };
    for (const Clock& clock : {Clock{CLOCK_MONOTONIC, "monotonic"}, Clock{CLOCK_BOOTTIME, "boottime"}}) {
        timespec now{};
        if (::clock_gettime(clock.id, &now) != 0) return -1;
        offsets.add(clock.name).add(" -").add(static_cast<std::uint64_t>(now.tv_sec)).add(" 0\n");
    }
    return write_file(AT_FDCWD, "/proc/self/timens_offsets", offsets.view());
}

int hostname(JailState& jail) { return ::sethostname(jail.plan.hostname.data(), jail.plan.hostname.size()); }

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
    return ::setresuid(0, 0, 0) == 0 ? invalid(EPERM) : 0;
}

struct StageEntry {
    Stage stage;
    int (*run)(JailState&);
    const char* why;
};

constexpr StageEntry kStages[] = {
    {Stage::receive_plan, receive_plan, "one message says what the jail is to be, with a descriptor for each thing of the host that goes in"},
    {Stage::private_mounts, private_mounts, "no mount made here shows on the host"},
    {Stage::root_overlay, root_overlay, "read-only layers below one writable one, mounted here so that ids on disk are the jail's; no path of the host in mountinfo"},
    {Stage::binds, binds, "trees of the host that the plan names, read-only unless it says otherwise, at places reached without symlinks"},
    {Stage::sudo, sudo_door, "nothing is setuid in here, so `sudo` asks PID 1, at a socket that nobody can replace"},
    {Stage::proc, proc, "processes of the jail's own pid namespace; those of other users, PID 1 among them, are invisible"},
    {Stage::limits_view, limits_view, "cpuinfo, meminfo, stat, loadavg and swaps show the sandbox's limits and use, not the host's"},
    {Stage::sys, sys, "no sysfs: a list of the sandbox's CPUs is all that programs need of it"},
    {Stage::dev, dev, "six verified device nodes and terminals of the jail's own; read-only"},
    {Stage::shm, shm, "POSIX shared memory, bounded in bytes and inodes, charged to the sandbox"},
    {Stage::masks, masks, "files of /proc that tell of the host or act on it are covered by verified inodes; /proc/sys is read-only"},
    {Stage::pivot, pivot, "the host's tree is left and let go; the working directory is checked to be inside"},
    {Stage::loopback, loopback, "localhost works without a network"},
    {Stage::hostname, hostname, "the jail has a name of its own, not the host's"},
    {Stage::clocks, clocks, "uptime begins with the jail"},
    {Stage::keyring, keyring, "keyrings are not namespaced: the daemon's session keyring is left"},
    {Stage::user_limits, user_limits, "no further namespace can be made, also without seccomp, and no quota of the host's users be used up"},
    {Stage::workload_userns, workload_userns, "the workload's user namespace owns no other one: all capabilities in it reach nothing but its own processes"},
    {Stage::core_scheduling, core_scheduling, "no other sandbox shares a core at the same time, where the kernel can see to that"},
    {Stage::drop_privileges, drop_privileges, "PID 1 becomes a user whom the workload can't name, without capabilities, for good; not dumpable"},
    {Stage::landlock, landlock, "a second wall before mounts, device nodes, signals and abstract sockets, where the kernel has it"},
};

void say(const char* text, std::size_t width) {
    const std::size_t size = ::strlen(text);
    (void)!::write(1, text, size);
    for (std::size_t i = size; i < width; ++i) (void)!::write(1, " ", 1);
}

}  // namespace

Stage set_up(JailState& jail) {
    for (const StageEntry& entry : kStages) {
        if (entry.run(jail) != 0) return entry.stage;
    }
    return Stage::ready;
}

void print_stages() {
    for (const StageEntry& entry : kStages) {
        say(isolation::stage_name(entry.stage), 18);
        say(entry.why, 0);
        say("\n", 0);
    }
}

}  // namespace sandboxd::init
