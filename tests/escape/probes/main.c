// probe NAME [ARGS]: runs one attack; "call NUMBER [ARGS...]" makes one raw system call with harmless arguments.
// Prints "ok" or the errno's name, and exits 0 when it got through, 1 when it was refused, 77 without a verdict.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probe.h"

static const struct probe* const kTables[] = {namespace_probes, process_probes, socket_probes, terminal_probes,
                                              memory_probes,    file_probes,    option_probes, grab_probes,
                                              queue_probes,     storm_probes,   heartbeat_probes};

static int raw_call(int argc, char** argv) {
    long a[7] = {0};
    for (int i = 0; i < 7 && i < argc; ++i) {
        // "bad": a pointer that is never mapped, so that the kernel gets as far as looking and no further.
        a[i] = strcmp(argv[i], "bad") == 0 ? 8 : strtol(argv[i], NULL, 0);
    }
    return verdict(syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]));
}

static int report(int result) {
    if (result == NOT_HERE) {
        puts("not here");
        return 77;
    }
    puts(result == 0 ? "ok" : strerrorname_np(result));
    return result != 0;
}

int main(int argc, char** argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2) return 2;
    if (strcmp(argv[1], "call") == 0) return report(raw_call(argc - 2, argv + 2));
    for (size_t t = 0; t < sizeof kTables / sizeof *kTables; ++t) {
        for (const struct probe* p = kTables[t]; p->name != NULL; ++p) {
            if (strcmp(argv[1], p->name) == 0) return report(p->run(argc - 2, argv + 2));
        }
    }
    fprintf(stderr, "no probe %s\n", argv[1]);
    return 2;
}
