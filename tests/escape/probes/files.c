// Files that a program must not open, and what must not reach it through descriptors.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "probe.h"

// At least one byte that is not NUL can be read.
static int read_any(int argc, char** argv) {
    if (argc < 1) return EINVAL;
    const int fd = open(argv[0], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return errno;
    char bytes[4096];
    const ssize_t n = read(fd, bytes, sizeof bytes);
    if (n < 0) return errno;
    for (ssize_t i = 0; i < n; ++i) {
        if (bytes[i] != 0) return 0;
    }
    return ENODATA;
}

static int open_write(int argc, char** argv) {
    if (argc < 1) return EINVAL;
    const int fd = open(argv[0], O_WRONLY | O_CLOEXEC);
    if (fd >= 0) close(fd);
    return verdict(fd);
}

static int set_attribute(int argc, char** argv) {
    if (argc < 1) return EINVAL;
    const char* path = "/tmp/probe-xattr";
    const int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) return errno;
    // An empty version-2 capability set for security.capability; any bytes do for the others.
    const unsigned value[5] = {0x02000000, 0, 0, 0, 0};
    const int result = verdict(setxattr(path, argv[0], value, sizeof value, 0));
    close(fd);
    unlink(path);
    return result;
}

// Descriptors that came with the program beyond 0, 1 and 2, or a folder, file or disk among those.
static int leaked_fds(int argc, char** argv) {
    (void)argc, (void)argv;
    for (int fd = 0; fd < 4096; ++fd) {
        struct stat st;
        if (fstat(fd, &st) != 0) continue;
        if (fd > 2 || S_ISDIR(st.st_mode) || S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) return 0;
    }
    return EBADF;
}

// lease PATH: while one is held, everybody else's open() of that file waits, up to fs.lease-break-time.
static int take_lease(int argc, char** argv) {
    if (argc < 1) return EINVAL;
    const int fd = open(argv[0], O_RDONLY | O_CLOEXEC);
    return fd < 0 ? errno : verdict(fcntl(fd, F_SETLEASE, F_RDLCK));
}

static int notify_about(int argc, char** argv) {
    if (argc < 1) return EINVAL;
    const int fd = open(argv[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? errno : verdict(fcntl(fd, F_NOTIFY, DN_ACCESS));
}

const struct probe file_probes[] = {{"read", read_any}, {"open_write", open_write}, {"setxattr", set_attribute},
                                    {"leaked_fds", leaked_fds}, {"lease", take_lease}, {"dnotify", notify_about}, {NULL, NULL}};
