// The tree that becomes the jail's root: overlay, binds, /proc, /sys, /dev. Everything of ours in it comes from one small
// tmpfs, the stage, of which parts are shown at their places as mounts of their own.
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "isolation/init/kernel.hpp"
#include "isolation/init/stages.hpp"

// <sys/mount.h> and <linux/mount.h> clash before glibc 2.37.
extern "C" int mount(const char*, const char*, const char*, unsigned long, const void*);

namespace sandboxd::init {

namespace {

constexpr unsigned long kMsNosuid = 2;
constexpr unsigned long kMsNodev = 4;
constexpr unsigned kInert = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
constexpr int kSudoBacklog = 16;

int attach(int mount, const char* name) {
    if (::mkdir(name, 0700) != 0) return -1;
    const int target = ::open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (target < 0) return -1;
    const int rc = sys_move_mount(mount, target);
    ::close(target);
    ::close(mount);  // kept, it would be a way to a layer around the overlay
    return rc;
}

// At /tmp of the old root, so it goes with that. Its folders: see show().
int set_stage(JailState& jail) {
    if (jail.stage < 0) {
        const MountOption options[] = {{"size", "1m"}, {"nr_inodes", "2k"}, {"mode", "0700"}};
        jail.stage = new_mount("tmpfs", options, 3, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    } else {
        jail.walls.add(isolation::Wall::hidden_ids);
    }
    const int place = ::open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (jail.stage < 0 || place < 0 || sys_move_mount(jail.stage, place) != 0 || ::fchdir(jail.stage) != 0) return -1;
    ::close(place);
    for (const char* folder : {"dev", "sys", "proc", "run", "run/bin"}) {
        if (::mkdir(folder, 0755) != 0) return -1;
    }
    return ::mkdir("empty", 0555);
}

}  // namespace

// The overlay is mounted here, in the jail's user namespace, with `userxattr`: overlayfs works with its mounter's
// credentials, and over an id-mapped upper those must be of this namespace (kernel 5.19). Its layers are reached by
// one-letter relative names in the stage, so that /proc/self/mountinfo shows no path of the host. `volatile`: fsync inside
// a sandbox does not wait for the host's disk; what a power cut loses is a sandbox that is gone anyway.
int root_overlay(JailState& jail) {
    if (set_stage(jail) != 0 || attach(jail.upper, "u") != 0) return -1;
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

// Targets below the new root are opened without following any symlink: an image's /proc or /dev may be one
// (CVE-2025-31133, CVE-2026-41579).
int attach_below(int root, const char* path, int mount) {
    const int target = open_below(root, path, O_PATH | O_DIRECTORY);
    if (target < 0) return -1;
    const int rc = sys_move_mount(mount, target);
    ::close(target);
    return rc;
}

int show(const JailState& jail, int source, const char* name, const char* path, unsigned attributes) {
    const int target = open_below(jail.new_root, path, O_PATH);
    if (target < 0) return -1;
    const unsigned empty = *name == '\0' ? AT_EMPTY_PATH : 0;
    const int copy = sys_open_tree(source, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW | empty);
    int rc = copy < 0 ? -1 : 0;
    if (rc == 0 && attributes != 0) rc = sys_mount_attributes(copy, attributes);
    if (rc == 0) rc = sys_move_mount(copy, target);
    const int saved = errno;
    ::close(copy);
    ::close(target);
    errno = saved;
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

namespace {

// The listening end of /run/sandboxd/sudo.sock. Made on the stage, shown read-only: nobody in the jail can remove it or
// put another in its place.
int listen_for_sudo() {
    const int listener = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0) return -1;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    constexpr char kName[] = "run/sudo.sock";
    for (std::size_t i = 0; i < sizeof kName; ++i) address.sun_path[i] = kName[i];
    if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::chmod(kName, 0666) != 0 ||
        ::listen(listener, kSudoBacklog) != 0) {
        return -1;
    }
    return listener;
}

int show_sudo_client(const JailState& jail) {
    const int file = ::open("run/bin/sudo", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0755);
    if (file < 0) return -1;
    ::close(file);
    const int target = ::open("run/bin/sudo", O_PATH | O_CLOEXEC | O_NOFOLLOW);
    if (target < 0 || sys_move_mount(jail.sudo_client, target) != 0) return -1;
    ::close(target);
    return 0;
}

}  // namespace

// `sudo` is a client of PID 1, since nothing in a jail is setuid. Where the image has a sudo of its own ours covers it.
int sudo_door(JailState& jail) {
    if (::mkdirat(jail.new_root, "run", 0755) != 0 && errno != EEXIST) return -1;
    const int run = open_below(jail.new_root, "run", O_PATH | O_DIRECTORY);
    if (run < 0 || (::mkdirat(run, "sandboxd", 0755) != 0 && errno != EEXIST)) return -1;
    ::close(run);
    if (show(jail, jail.stage, "run", "run/sandboxd", MOUNT_ATTR_RDONLY | kInert) != 0) return -1;
    if (jail.sudo_client < 0 || !jail.plan.allow_root) return 0;
    if ((jail.sudo_listener = listen_for_sudo()) < 0 || show_sudo_client(jail) != 0) return -1;
    // The first show() cloned without what is mounted below, and the file is one more mount.
    if (show(jail, jail.sudo_client, "", "run/sandboxd/bin/sudo", 0) != 0) return -1;
    if (show(jail, jail.sudo_client, "", "usr/bin/sudo", 0) != 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP) return -1;
    ::close(jail.sudo_client);
    return 0;
}

// A full procfs of the new pid namespace: `subset=pid` breaks real programs. hidepid: processes of other users, PID 1
// first of all, don't exist for a user (proc(5); the word form is kernel 5.8).
int proc(JailState& jail) {
    const MountOption options[] = {{"hidepid", "invisible"}};
    const int mount = new_mount("proc", options, 1, kInert);
    if (mount < 0 || attach_below(jail.new_root, "proc", mount) != 0) return -1;
    jail.user_sysctls = open_below(mount, "sys/user", O_PATH | O_DIRECTORY);
    // Every port is anybody's (ip_unprivileged_port_start, ip(7)): the network is the sandbox's alone, and belongs to a
    // namespace over which no program of the workload has a capability, root's CAP_NET_BIND_SERVICE included. Now, since
    // /proc/sys is read-only later. ENOENT: a kernel without IPv4.
    const int ports = write_file(mount, "sys/net/ipv4/ip_unprivileged_port_start", "0");
    const bool failed = jail.user_sysctls < 0 || (ports != 0 && errno != ENOENT);
    ::close(mount);
    return failed ? -1 : 0;
}

// No sysfs: it is a list of the host's hardware, and what programs look for in it is the number of CPUs.
int sys(JailState& jail) { return show(jail, jail.stage, "sys", "sys", MOUNT_ATTR_RDONLY | kInert); }

namespace {

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
    if (target < 0 || sys_move_mount(node, target) != 0) return -1;
    ::close(target);
    if (jail.null_mount < 0) {
        jail.null_mount = node;  // the first: copies of the same, verified inode mask files
    } else {
        ::close(node);
    }
    return 0;
}

int add_terminals(const JailState& jail, int dev) {
    if (::mkdirat(dev, "pts", 0755) != 0) return -1;
    Text<16> max;
    max.add(jail.plan.pty_max);
    // No gid= for the group of terminals: mountinfo would name that group's id on the host. So nobody but a terminal's own
    // user may write to it.
    const MountOption options[] = {{"ptmxmode", "0666"}, {"mode", "0600"}, {"max", max.c_str()}};
    const int pts = new_mount("devpts", options, 3, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    if (pts < 0 || attach_below(dev, "pts", pts) != 0) return -1;
    ::close(pts);
    return 0;
}

}  // namespace

int dev(JailState& jail) {
    if (show(jail, jail.stage, "dev", "dev", kInert) != 0) return -1;
    const int mount = open_below(jail.new_root, "dev", O_PATH | O_DIRECTORY);
    if (mount < 0) return -1;
    for (const Device& device : kDevices) {
        if (add_device(jail, mount, device) != 0) return -1;
    }
    constexpr const char* kLinks[][2] = {{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
                                         {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"}};
    for (const auto& link : kLinks) {
        if (::symlinkat(link[0], mount, link[1]) != 0) return -1;
    }
    if (add_terminals(jail, mount) != 0 || ::mkdirat(mount, "shm", 0755) != 0) return -1;
    // Nobody adds names to /dev; the nodes, pts and shm are mounts of their own.
    if (sys_mount_attributes(mount, MOUNT_ATTR_RDONLY) != 0) return -1;
    ::close(mount);
    return 0;
}

// POSIX shared memory is memory of the sandbox (its memory cgroup is charged); the size keeps one from filling it all.
int shm(JailState& jail) {
    if (jail.shm < 0) {
        Text<32> size;
        Text<16> inodes;
        size.add(jail.plan.shm_bytes);
        inodes.add(jail.plan.shm_inodes);
        const MountOption options[] = {{"size", size.c_str()}, {"nr_inodes", inodes.c_str()}, {"mode", "1777"}};
        jail.shm = new_mount("tmpfs", options, 3, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    }
    if (jail.shm < 0 || attach_below(jail.new_root, "dev/shm", jail.shm) != 0) return -1;
    ::close(jail.shm);
    return 0;
}

}  // namespace sandboxd::init
