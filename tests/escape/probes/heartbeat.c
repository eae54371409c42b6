// What a well-behaved neighbour would notice: a small piece of work and a write on a fixed schedule, and how late each was.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

static int64_t now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static unsigned work(unsigned seed) {
    static unsigned char page[4096];
    for (int round = 0; round < 8; ++round) {
        for (size_t i = 0; i < sizeof page; ++i) page[i] = (unsigned char)(seed = seed * 1103515245U + 12345U);
    }
    return seed;
}

// heartbeat [MS] [PER_LINE]: every MS milliseconds works, writes and takes the time; prints "EPOCH_MS LATE_US..." per line, where
// EPOCH_MS is when the first of its beats was due. The schedule does not wait for a late beat: a stall makes every beat late that was due in it, so it can't hide in a percentile.
static int heartbeat(int argc, char** argv) {
    const int64_t period = (argc > 0 ? strtol(argv[0], NULL, 10) : 4) * 1000000;
    const int per_line = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 25;
    const int file = open("heartbeat.dat", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (file < 0) return errno;
    unsigned seed = 1;
    const int64_t epoch = now_ns(CLOCK_REALTIME) - now_ns(CLOCK_MONOTONIC);
    for (int64_t due = now_ns(CLOCK_MONOTONIC) + period;;) {
        char line[1024];
        int length = snprintf(line, sizeof line, "%lld", (long long)((epoch + due) / 1000000));
        for (int beat = 0; beat < per_line; ++beat, due += period) {
            const struct timespec at = {due / 1000000000, due % 1000000000};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
            seed = work(seed);
            if (pwrite(file, &seed, sizeof seed, (off_t)(seed % 64) * 4096) != sizeof seed) return errno;
            length += snprintf(line + length, sizeof line - (size_t)length, " %lld", (long long)((now_ns(CLOCK_MONOTONIC) - due) / 1000));
        }
        line[length++] = '\n';
        if (write(1, line, (size_t)length) != length) return errno;
    }
}

const struct probe heartbeat_probes[] = {{"heartbeat", heartbeat}, {NULL, NULL}};
