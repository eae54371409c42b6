// Zero-copy paths between files and pipes (how page-cache writes are reached), and kernel memory that must be charged.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "probe.h"

static char block[1 << 20];

static int splice_file(int argc, char** argv) {
    (void)argc, (void)argv;
    int pipe_ends[2];
    const int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (file < 0 || pipe(pipe_ends) != 0) return errno;
    return verdict(splice(file, NULL, pipe_ends[1], NULL, 1, 0));
}

static int vmsplice_page(int argc, char** argv) {
    (void)argc, (void)argv;
    int pipe_ends[2];
    if (pipe(pipe_ends) != 0) return errno;
    struct iovec part = {block, 4096};
    return verdict(vmsplice(pipe_ends[1], &part, 1, 0));
}

static int tee_pipe(int argc, char** argv) {
    (void)argc, (void)argv;
    int a[2], b[2];
    if (pipe(a) != 0 || pipe(b) != 0 || write(a[1], "x", 1) != 1) return errno;
    return verdict(tee(a[0], b[1], 1, 0));
}

static int take_heap(size_t mib) {
    char* memory = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return errno;
    memset(memory, 1, mib << 20);
    return 0;
}

static int take_memfd(size_t mib) {
    const int fd = memfd_create("probe", MFD_CLOEXEC);
    for (size_t i = 0; i < mib; ++i) {
        if (fd < 0 || write(fd, block, sizeof block) < 0) return errno;
    }
    return 0;
}

static int take_sysv(size_t mib) {
    const int id = shmget(IPC_PRIVATE, mib << 20, IPC_CREAT | 0600);
    if (id < 0) return errno;
    char* memory = shmat(id, NULL, 0);
    shmctl(id, IPC_RMID, NULL);
    if (memory == (char*)-1) return errno;
    memset(memory, 1, mib << 20);
    return 0;
}

static int fill(int fd, size_t* taken) {
    ssize_t n;
    while ((n = write(fd, block, 65536)) > 0) *taken += (size_t)n;
    return errno == EAGAIN ? 0 : errno;
}

static int take_sockets(size_t mib) {
    for (size_t taken = 0; taken < mib << 20;) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0) return errno;
        const int failed = fill(pair[0], &taken);
        if (failed != 0) return failed;
    }
    return 0;
}

static int take_pipes(size_t mib) {
    for (size_t taken = 0; taken < mib << 20;) {
        int ends[2];
        if (pipe2(ends, O_NONBLOCK) != 0) return errno;
        fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
        const int failed = fill(ends[1], &taken);
        if (failed != 0) return failed;
    }
    return 0;
}

// A page table page per 2 MiB of address space, all of them on the same one page of data.
static int take_tables(size_t mib) {
    const int fd = memfd_create("probe", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 4096) != 0) return errno;
    for (size_t i = 0; i < mib * 256; ++i) {
        char* hint = (char*)(0x100000000000UL + (i << 21));
        char* memory = mmap(hint, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
        if (memory == MAP_FAILED) return errno;
        memory[0] = 1;
    }
    return 0;
}

// take KIND MIB: takes that much of the kind and touches it. Whoever is charged is killed or refused at its limit.
static int take(int argc, char** argv) {
    static const struct {
        const char* name;
        int (*run)(size_t mib);
    } kKinds[] = {{"heap", take_heap}, {"memfd", take_memfd}, {"sysv", take_sysv},
                  {"sockets", take_sockets}, {"pipes", take_pipes}, {"tables", take_tables}};
    if (argc < 2) return EINVAL;
    memset(block, 1, sizeof block);
    for (size_t i = 0; i < sizeof kKinds / sizeof *kKinds; ++i) {
        if (strcmp(argv[0], kKinds[i].name) == 0) return kKinds[i].run((size_t)strtol(argv[1], NULL, 10));
    }
    return EINVAL;
}

// Takes inotify instances until refused, says how many, and holds them until stdin ends.
static int inotify_hold(int argc, char** argv) {
    (void)argc, (void)argv;
    long count = 0;
    while (count < 100000 && inotify_init1(IN_CLOEXEC) >= 0) ++count;
    printf("%ld\n", count);
    char byte;
    while (read(0, &byte, 1) > 0) {
    }
    return 0;
}

const struct probe memory_probes[] = {{"splice", splice_file}, {"vmsplice", vmsplice_page}, {"tee", tee_pipe},
                                      {"take", take}, {"inotify_hold", inotify_hold}, {NULL, NULL}};
