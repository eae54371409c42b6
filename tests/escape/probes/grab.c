// Things that the kernel keeps a table or memory for: taken one by one until refused, then held.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

static char scratch[64];  // a folder of ours, made by the first kind that needs one
static char megabyte[1 << 20];

static const char* file_of(long i) {
    static char path[96];
    if (scratch[0] == '\0') {
        strcpy(scratch, "probe-grab-XXXXXX");
        if (mkdtemp(scratch) == NULL) return "/";
    }
    snprintf(path, sizeof path, "%s/%ld", scratch, i);
    return path;
}

static int made(int fd) { return verdict(fd); }

static int one_fd(long i) { return (void)i, made(open("/dev/null", O_RDONLY)); }
static int one_eventfd(long i) { return (void)i, made(eventfd(0, 0)); }
static int one_epoll(long i) { return (void)i, made(epoll_create1(0)); }
static int one_timerfd(long i) { return (void)i, made(timerfd_create(CLOCK_MONOTONIC, 0)); }
static int one_inotify(long i) { return (void)i, made(inotify_init1(0)); }
static int one_pidfd(long i) { return (void)i, made((int)syscall(SYS_pidfd_open, getpid(), 0)); }
static int one_memfd(long i) { return (void)i, made(memfd_create("probe", 0)); }
static int one_pty(long i) { return (void)i, made(posix_openpt(O_RDWR | O_NOCTTY)); }

static int one_signalfd(long i) {
    sigset_t none;
    sigemptyset(&none);
    return (void)i, made(signalfd(-1, &none, 0));
}

static int one_pipe(long i) {
    int ends[2];
    return (void)i, verdict(pipe(ends));
}

static int one_timer(long i) {
    struct sigevent quiet = {.sigev_notify = SIGEV_NONE};
    timer_t timer;
    return (void)i, verdict(timer_create(CLOCK_MONOTONIC, &quiet, &timer));
}

static int one_signal(long i) {
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    return (void)i, verdict(sigqueue(getpid(), SIGRTMIN, (union sigval){0}));
}

static int one_file(long i) {
    const int fd = open(file_of(i), O_CREAT | O_WRONLY, 0600);
    if (fd >= 0) close(fd);
    return verdict(fd);
}

static int one_watch(long i) {
    static int instance = -1;
    if (instance < 0) instance = inotify_init1(0);
    if (instance < 0) return errno;
    const int failed = one_file(i);
    return failed != 0 ? failed : verdict(inotify_add_watch(instance, file_of(i), IN_MODIFY));
}

// Many epolls, each watching the same 200 descriptors: the number of watches is the product.
static int one_epoll_watch(long i) {
    static int watched[200], current = -1;
    const long at = i % 200;
    if (i < 200 && (watched[at] = eventfd(0, 0)) < 0) return errno;
    if (at == 0 || current < 0) current = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    return current < 0 ? errno : verdict(epoll_ctl(current, EPOLL_CTL_ADD, watched[at], &event));
}

static int one_lock(long i) {
    static int file = -1;
    if (file < 0) file = open(file_of(0), O_CREAT | O_RDWR, 0600);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2 * i, .l_len = 1};  // gaps: never merged
    return file < 0 ? errno : verdict(fcntl(file, F_SETLK, &lock));
}

// Semaphores outlive their maker: remembered, so that a control outside takes them away again.
static int semaphores[40000];
static long semaphore_count;
static int one_semaphore(long i) {
    const int id = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
    if (id >= 0 && i < 40000) semaphores[semaphore_count++] = id;
    return verdict(id);
}

static int one_segment(long i) {
    const int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    if (id < 0) return errno;
    char* at = shmat(id, NULL, 0);
    const int failed = at == (char*)-1 ? errno : 0;
    shmctl(id, IPC_RMID, NULL);
    if (failed == 0) at[0] = 1;
    return (void)i, failed;
}

static int one_negative_dentry(long i) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/probe-no-such-name-%ld", i);
    return access(path, F_OK) == 0 ? EEXIST : 0;
}

static int one_deeper_folder(long i) {
    if (i == 0) (void)file_of(0);
    if (i == 0 && chdir(scratch) != 0) return errno;
    if (mkdir("d", 0700) != 0) return errno;
    return verdict(chdir("d"));
}

static int one_mapping(long i) {
    // Neighbours of unlike protection are not merged into one mapping.
    return mmap(NULL, 4096, i % 2 == 0 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0;
}

static int one_locked_megabyte(long i) {
    char* memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return errno;
    return (void)i, verdict(mlock(memory, 1 << 20));
}

static int sleeper(void* unused) {
    (void)unused;
    while (pause() == -1) {
    }
    return 0;
}

static int one_thread(long i) {
    char* stack = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED) return errno;
    const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    return (void)i, verdict(clone(sleeper, stack + 16384, flags, NULL));
}

static int one_child(long i) {
    const pid_t parent = getpid(), child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) sleeper(NULL);
        _exit(0);
    }
    return (void)i, verdict(child);
}

static int one_zombie(long i) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    return (void)i, verdict(child);
}

static int one_attribute(long i) {
    char name[64];
    snprintf(name, sizeof name, "user.%ld", i);
    if (i == 0) (void)one_file(0);
    return verdict(setxattr(file_of(0), name, megabyte, 3000, 0));
}

static int one_link(long i) {
    char first[96];
    if (i == 0) return one_file(0);
    strcpy(first, file_of(0));
    return verdict(link(first, file_of(i)));
}

static int one_megabyte_in(const char* path) {
    static int file = -1;
    if (file < 0) file = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_NOFOLLOW, 0600);
    if (file < 0) return errno;
    const ssize_t n = write(file, megabyte, sizeof megabyte);
    return n == (ssize_t)sizeof megabyte ? 0 : n < 0 ? errno : ENOSPC;
}

static int one_shm_megabyte(long i) { return (void)i, one_megabyte_in("/dev/shm/probe-grab"); }
static int one_disk_megabyte(long i) { return (void)i, one_megabyte_in(file_of(0)); }

// An unlinked file has no name to be deleted by.
static int one_nameless_megabyte(long i) {
    const int failed = one_megabyte_in(file_of(0));
    if (i == 0) unlink(file_of(0));
    return failed;
}

static void sweep(void) {
    for (long i = 0; i < semaphore_count; ++i) semctl(semaphores[i], 0, IPC_RMID);
    unlink("/dev/shm/probe-grab");
}

static const struct {
    const char* name;
    int (*one)(long i);
} kKinds[] = {
    {"fds", one_fd}, {"eventfds", one_eventfd}, {"epolls", one_epoll}, {"timerfds", one_timerfd}, {"signalfds", one_signalfd},
    {"inotify", one_inotify}, {"pidfds", one_pidfd}, {"memfds", one_memfd}, {"ptys", one_pty}, {"pipes", one_pipe},
    {"timers", one_timer}, {"signals", one_signal}, {"files", one_file}, {"watches", one_watch}, {"epoll_watches", one_epoll_watch},
    {"locks", one_lock}, {"semaphores", one_semaphore}, {"segments", one_segment}, {"negative_dentries", one_negative_dentry},
    {"folders", one_deeper_folder}, {"mappings", one_mapping}, {"locked_mib", one_locked_megabyte}, {"threads", one_thread},
    {"children", one_child}, {"zombies", one_zombie}, {"attributes", one_attribute}, {"links", one_link},
    {"shm_mib", one_shm_megabyte}, {"disk_mib", one_disk_megabyte}, {"nameless_mib", one_nameless_megabyte},
};

// grab KIND MAX [hold]: "N ok" when all MAX were to be had, otherwise "N ERRNO"; with hold it then stays until killed.
static int grab(int argc, char** argv) {
    if (argc < 2) return EINVAL;
    memset(megabyte, 1, sizeof megabyte);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    const long most = strtol(argv[1], NULL, 10);
    for (size_t k = 0; k < sizeof kKinds / sizeof *kKinds; ++k) {
        if (strcmp(argv[0], kKinds[k].name) != 0) continue;
        long taken = 0;
        int refused = 0;
        while (taken < most && (refused = kKinds[k].one(taken)) == 0) ++taken;
        // One write by hand: stdio may need memory that there is none of.
        char line[64];
        const int length = snprintf(line, sizeof line, "%ld %s\n", taken, refused == 0 ? "ok" : strerrorname_np(refused));
        if (write(1, line, (size_t)length) != length) return EIO;
        if (argc > 2) sleeper(NULL);
        sweep();
        _exit(refused != 0);
    }
    return EINVAL;
}

const struct probe grab_probes[] = {{"grab", grab}, {NULL, NULL}};
