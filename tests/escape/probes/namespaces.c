// Ways to a new or a foreign namespace, and the mount API.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

static int unshare_flag(int argc, char** argv) { return argc < 1 ? EINVAL : verdict(unshare((int)strtol(argv[0], NULL, 0))); }

static int wait_for(long pid) {
    if (pid == 0) _exit(0);
    if (pid > 0) waitpid((pid_t)pid, NULL, 0);
    return verdict(pid);
}

static int clone_flag(int argc, char** argv) {
    if (argc < 1) return EINVAL;
    return wait_for(syscall(SYS_clone, strtol(argv[0], NULL, 0) | SIGCHLD, 0, 0, 0, 0));
}

static int clone3_flag(int argc, char** argv) {
    if (argc < 1) return EINVAL;
    struct clone_args args = {.flags = (uint64_t)strtol(argv[0], NULL, 0), .exit_signal = SIGCHLD};
    return wait_for(syscall(SYS_clone3, &args, sizeof args));
}

// Into the namespace of another process: argv[0] is the path of its ns file.
static int enter(int argc, char** argv) {
    if (argc < 1) return EINVAL;
    const int fd = open(argv[0], O_RDONLY | O_CLOEXEC);
    return fd < 0 ? errno : verdict(setns(fd, 0));
}

static int mount_somewhere(const char* source, const char* type, unsigned long flags) {
    char folder[] = "/tmp/probe-XXXXXX";
    if (mkdtemp(folder) == NULL) return errno;
    const int result = verdict(mount(source, folder, type, flags, NULL));
    if (result == 0) umount(folder);
    rmdir(folder);
    return result;
}

static int mount_tmpfs(int argc, char** argv) {
    (void)argc, (void)argv;
    return mount_somewhere("probe", "tmpfs", 0);
}

static int mount_proc(int argc, char** argv) {
    (void)argc, (void)argv;
    return mount_somewhere("proc", "proc", 0);
}

static int bind_mount(int argc, char** argv) {
    (void)argc, (void)argv;
    return mount_somewhere("/usr", NULL, MS_BIND);
}

static int unmount(int argc, char** argv) { return argc < 1 ? EINVAL : verdict(umount2(argv[0], MNT_DETACH)); }

static int fsopen_tmpfs(int argc, char** argv) {
    (void)argc, (void)argv;
    return verdict(syscall(SYS_fsopen, "tmpfs", 0));
}

static int open_tree_clone(int argc, char** argv) {
    (void)argc, (void)argv;
    return verdict(syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE));
}

static int chroot_there(int argc, char** argv) {
    (void)argc, (void)argv;
    return verdict(chroot("/tmp"));
}

static int set_hostname(int argc, char** argv) {
    (void)argc, (void)argv;
    char name[128] = {0};
    if (gethostname(name, sizeof name - 1) != 0) return errno;
    return verdict(sethostname(name, strlen(name)));
}

// A device node on a file system of ours that is not mounted nodev would be the whole disk.
static int make_device(int argc, char** argv) {
    const mode_t kind = argc > 0 && strcmp(argv[0], "block") == 0 ? S_IFBLK : S_IFCHR;
    const char* path = argc > 1 ? argv[1] : "/tmp/probe-node";
    const int result = verdict(mknod(path, kind | 0600, (dev_t)(kind == S_IFBLK ? 0x700 : 0x103)));
    if (result == 0) unlink(path);
    return result;
}

static int whiteout(int argc, char** argv) {
    (void)argc, (void)argv;
    const int fd = open("/dev/shm/probe-a", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) return errno;
    close(fd);
    const int result = verdict(syscall(SYS_renameat2, AT_FDCWD, "/dev/shm/probe-a", AT_FDCWD, "/dev/shm/probe-b", 4 /* RENAME_WHITEOUT */));
    unlink("/dev/shm/probe-a");
    unlink("/dev/shm/probe-b");
    return result;
}

static int handle_of(int argc, char** argv) {
    (void)argc, (void)argv;
    union {
        struct file_handle head;
        unsigned char room[sizeof(struct file_handle) + 128];
    } handle = {.head = {.handle_bytes = 128}};
    int mount_id = 0;
    return verdict(name_to_handle_at(AT_FDCWD, "/usr", &handle.head, &mount_id, 0));
}

const struct probe namespace_probes[] = {
    {"unshare", unshare_flag}, {"clone", clone_flag}, {"clone3", clone3_flag}, {"setns", enter}, {"mount_tmpfs", mount_tmpfs},
    {"mount_proc", mount_proc}, {"bind_mount", bind_mount}, {"umount", unmount}, {"fsopen", fsopen_tmpfs},
    {"open_tree", open_tree_clone}, {"chroot", chroot_there}, {"sethostname", set_hostname}, {"mknod", make_device},
    {"whiteout", whiteout}, {"name_to_handle", handle_of}, {NULL, NULL},
};
