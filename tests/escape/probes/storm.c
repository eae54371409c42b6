// Loops that a scheduler, a file system or an interrupt path may suffer from; any number of processes run the same one.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

static char block[1 << 20];
static char name[64];  // a file of this worker's own
static int file = -1;
static long* rounds;

static int own_file(void) {
    if (file >= 0) return file;
    snprintf(name, sizeof name, "probe-storm-%d", (int)getpid());
    return file = open(name, O_CREAT | O_TRUNC | O_RDWR, 0600);
}

static void spin(long i) {
    for (volatile long n = 0; n < 100000; ++n) (void)i;
}

static void fork_exit(long i) {
    (void)i;
    const pid_t child = fork();
    if (child == 0) _exit(0);
    if (child > 0) waitpid(child, NULL, 0);
}

static void vfork_exit(long i) {
    (void)i;
    const pid_t child = vfork();
    if (child == 0) _exit(0);
    if (child > 0) waitpid(child, NULL, 0);
}

// Children of nobody: PID 1 has to collect each.
static void orphan(long i) {
    (void)i;
    const pid_t child = fork();
    if (child == 0) _exit(fork() < 0 ? 1 : 0);
    if (child > 0) waitpid(child, NULL, 0);
}

// Every process makes more of them for ever, in sessions of their own, deaf to what can be ignored.
static void bomb(long i) {
    (void)i;
    if (fork() == 0) {
        setsid();
        for (int number = 1; number < 32; ++number) signal(number, SIG_IGN);
    }
}

// As above, but each child has the address space of its parent until it execs or ends: the parent waits in the kernel.
static void vfork_bomb(long i) {
    (void)i;
    if (syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0) == 0) setsid();
}

static void* thread_body(void* unused) {
    (void)unused;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 32768);
    for (;;) {
        pthread_t thread;
        if (pthread_create(&thread, &small, thread_body, NULL) != 0) sched_yield();
    }
    return NULL;
}

static void thread_bomb(long i) { (void)i, (void)thread_body(NULL); }

static void stop_everybody(long i) {
    (void)i;
    signal(SIGCONT, SIG_IGN);
    kill(-1, SIGSTOP);
}

static void crash(long i) {
    (void)i;
    const pid_t child = fork();
    if (child == 0) raise(SIGSEGV), abort();
    if (child > 0) waitpid(child, NULL, 0);
}

static void map_unmap(long i) {
    (void)i;
    char* memory = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory != MAP_FAILED) munmap(memory, 8 << 20);
}

static void* touch_for_ever(void* memory) {
    for (;;) ++*(volatile char*)memory;
    return NULL;
}

// Each change of protection interrupts the CPUs that the other thread runs on.
static void shoot_down(long i) {
    static char* memory;
    if (i == 0) {
        pthread_t thread;
        memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (memory == MAP_FAILED || pthread_create(&thread, NULL, touch_for_ever, memory + (1 << 20) - 1) != 0) _exit(1);
    }
    mprotect(memory, 1 << 19, PROT_READ);
    mprotect(memory, 1 << 19, PROT_READ | PROT_WRITE);
}

static void barrier(long i) {
    if (i == 0) syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
    syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
}

static void thrash(long i) {
    const size_t size = 400 << 20;
    static char* memory;
    if (memory == NULL) memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED) memory[((size_t)i * 4096) % size] = 1;
}

// Pages of files in and out of a memory limit that they don't fit in.
static void reread(long i) {
    if (i == 0) {
        for (int part = 0; part < 96; ++part) {
            if (write(own_file(), block, sizeof block) != sizeof block) break;
        }
    }
    lseek(own_file(), 0, SEEK_SET);
    while (read(own_file(), block, sizeof block) > 0) {
    }
}

static void rewrite(long i) {
    if (pwrite(own_file(), block, sizeof block, (off_t)(i % 64) << 20) < 0) _exit(1);
}

static void write_through(long i) {
    if (i == 0) fcntl(own_file(), F_SETFL, O_DIRECT);
    static char aligned[8192] __attribute__((aligned(4096)));
    if (pwrite(own_file(), aligned, sizeof aligned, (off_t)(i % 4096) * 8192) < 0) {
    }
}

static void write_sync(long i) {
    if (pwrite(own_file(), block, 4096, (off_t)(i % 1024) * 4096) == 4096) fsync(own_file());
    if (i % 16 == 0) syncfs(own_file());
}

static void small_files(long i) {
    char path[96];
    snprintf(path, sizeof path, "probe-storm-%d-%ld", (int)getpid(), i % 512);
    const int fd = open(path, O_CREAT | O_WRONLY, 0600);
    if (fd >= 0 && write(fd, block, 512) != 512) unlink(path);
    if (fd >= 0) close(fd);
    if (i % 512 >= 256) unlink(path);
}

static void rename_about(long i) {
    char from[96], to[96];
    (void)own_file();
    snprintf(from, sizeof from, "%s%s", name, i % 2 == 0 ? "" : ".b");
    snprintf(to, sizeof to, "%s%s", name, i % 2 == 0 ? ".b" : "");
    rename(from, to);
}

static void holes(long i) {
    (void)fallocate(own_file(), 0, (off_t)(i % 16) << 20, 1 << 20);
    (void)fallocate(own_file(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(i % 16) << 20, 1 << 19);
    if (i % 64 == 63 && ftruncate(own_file(), 0) != 0) _exit(1);
}

static void statistics(long i) {
    (void)i;
    DIR* folder = opendir("/proc");
    if (folder == NULL) return;
    for (const struct dirent* entry; (entry = readdir(folder)) != NULL;) {
        char path[320];
        snprintf(path, sizeof path, "/proc/%s/smaps", entry->d_name);
        const int fd = open(path, O_RDONLY);
        while (fd >= 0 && read(fd, block, sizeof block) > 0) {
        }
        if (fd >= 0) close(fd);
    }
    closedir(folder);
}

static void timer_of_one_nanosecond(long i) {
    static int timers[64];
    const struct itimerspec often = {{0, 1}, {0, 1}};
    if (i < 64 && (timers[i] = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)) >= 0) timerfd_settime(timers[i], 0, &often, NULL);
    unsigned long long count;
    if (read(timers[i % 64], &count, sizeof count) < 0) sched_yield();
}

// Counted here: with as many alarms as this nothing but the handler ever runs.
static void on_alarm(int number) {
    (void)number;
    __atomic_add_fetch(rounds, 1, __ATOMIC_RELAXED);
}

static void alarms(long i) {
    if (i == 0) {
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
        const struct itimerspec often = {{0, 1}, {0, 1}};
        signal(SIGRTMIN, on_alarm);
        for (int n = 0; n < 64; ++n) {
            timer_t timer;
            if (timer_create(CLOCK_MONOTONIC, &event, &timer) == 0) timer_settime(timer, 0, &often, NULL);
        }
    }
    pause();
}

static void connections(long i) {
    static struct sockaddr_in address = {.sin_family = AF_INET};
    static int server = -1;
    if (i == 0) {
        socklen_t size = sizeof address;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        server = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(server, (struct sockaddr*)&address, size) != 0 || listen(server, 4096) != 0) _exit(1);
        getsockname(server, (struct sockaddr*)&address, &size);
    }
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(client, (struct sockaddr*)&address, sizeof address);
    const int peer = accept4(server, NULL, NULL, SOCK_NONBLOCK);
    close(client);
    if (peer >= 0) close(peer);
}

// Packets are taken in by the kernel's network interrupt work, which no control group is charged for.
static void packets(long i) {
    static struct sockaddr_in address = {.sin_family = AF_INET};
    static int receiver = -1, sender = -1;
    if (i == 0) {
        socklen_t size = sizeof address;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        receiver = socket(AF_INET, SOCK_DGRAM, 0);
        sender = socket(AF_INET, SOCK_DGRAM, 0);
        if (bind(receiver, (struct sockaddr*)&address, size) != 0) _exit(1);
        getsockname(receiver, (struct sockaddr*)&address, &size);
    }
    sendto(sender, block, 60000, MSG_DONTWAIT, (struct sockaddr*)&address, sizeof address);
}

static void notifications(long i) {
    static int instance = -1;
    if (i == 0) {
        instance = inotify_init1(IN_NONBLOCK);
        inotify_add_watch(instance, ".", IN_ALL_EVENTS);
    }
    if (pwrite(own_file(), "x", 1, i % 4096) < 0) _exit(1);
}

static void wakes(long i) {
    static int* word;
    if (i == 0) word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const struct timespec little = {0, 1000};
    syscall(SYS_futex, word, FUTEX_WAIT, 0, &little, NULL, 0);
    syscall(SYS_futex, word, FUTEX_WAKE, 1 << 20, NULL, NULL, 0);
}

static void priorities(long i) {
    const struct sched_param none = {0};
    sched_setscheduler(0, i % 3 == 0 ? SCHED_BATCH : i % 3 == 1 ? SCHED_IDLE : SCHED_OTHER, &none);
    setpriority(PRIO_PROCESS, 0, -20);
    syscall(SYS_ioprio_set, 1, 0, (1 << 13) | 0);
    spin(i);
}

static void one_cpu(long i) {
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET((size_t)(i / 256) % 2, &first);
    sched_setaffinity(0, sizeof first, &first);
    spin(i);
}

static void randomness(long i) { (void)i, (void)!getrandom(block, sizeof block, 0); }

// What would take the machine down when root of the host ran it: an accident there must not happen twice.
static int too_dangerous(void (*one)(long)) {
    unsigned header[2] = {0x20080522, 0}, data[6] = {0};
    const int administrator = syscall(SYS_capget, header, data) == 0 && (data[0] & (1U << 21)) != 0;
    return administrator && (one == bomb || one == vfork_bomb || one == thread_bomb || one == stop_everybody);
}

static const struct {
    const char* name;
    void (*one)(long i);
} kKinds[] = {
    {"spin", spin}, {"fork", fork_exit}, {"vfork", vfork_exit}, {"orphan", orphan}, {"bomb", bomb}, {"vfork_bomb", vfork_bomb},
    {"thread_bomb", thread_bomb}, {"stop", stop_everybody}, {"crash", crash}, {"map", map_unmap}, {"shoot_down", shoot_down},
    {"barrier", barrier}, {"thrash", thrash}, {"reread", reread}, {"rewrite", rewrite}, {"write_through", write_through},
    {"write_sync", write_sync}, {"small_files", small_files}, {"rename", rename_about}, {"holes", holes}, {"proc", statistics},
    {"timers", timer_of_one_nanosecond}, {"alarms", alarms}, {"connections", connections}, {"packets", packets},
    {"notifications", notifications}, {"wakes", wakes}, {"priorities", priorities}, {"one_cpu", one_cpu}, {"random", randomness},
};

static void count_down(long ms) {
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0) {
    }
}

// storm KIND PROCESSES [MS]: says "going" and goes on for ever, or, as a control outside, for that time and then says
// how often each loop got round. Workers of a control die with it.
static int storm(int argc, char** argv) {
    if (argc < 2) return EINVAL;
    void (*one)(long) = NULL;
    for (size_t k = 0; k < sizeof kKinds / sizeof *kKinds; ++k) {
        if (strcmp(argv[0], kKinds[k].name) == 0) one = kKinds[k].one;
    }
    if (one == NULL) return EINVAL;
    if (too_dangerous(one)) return ENOTRECOVERABLE;
    rounds = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (rounds == MAP_FAILED) return errno;
    memset(block, 1, sizeof block);
    const int workers = (int)strtol(argv[1], NULL, 10);
    pid_t pids[256] = {0};
    if (write(1, "going\n", 6) != 6) return EIO;
    for (int n = 0; n < workers && n < 256; ++n) {
        pids[n] = fork();
        if (pids[n] != 0) continue;
        for (long i = 0;; ++i) {
            one(i);
            __atomic_add_fetch(rounds, 1, __ATOMIC_RELAXED);
        }
    }
    if (argc < 3) {
        for (;;) pause();
    }
    count_down(strtol(argv[2], NULL, 10));
    for (int n = 0; n < workers && n < 256; ++n) {
        char path[64];
        if (pids[n] <= 0) continue;
        kill(pids[n], SIGKILL);
        waitpid(pids[n], NULL, 0);
        snprintf(path, sizeof path, "probe-storm-%d", (int)pids[n]);
        unlink(path);
    }
    printf("%ld %s\n", *rounds, *rounds > 0 ? "ok" : "ENODATA");
    fflush(stdout);
    _exit(*rounds > 0 ? 0 : 1);
}

const struct probe storm_probes[] = {{"storm", storm}, {NULL, NULL}};
