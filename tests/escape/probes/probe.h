// One attack each: a function that tries it and says how the kernel answered. Compiled static with nothing but libc, so
// that the same binary runs outside of the jail (where the attack must get through) and inside (where it must not).
#ifndef PROBE_H
#define PROBE_H

#include <errno.h>

// 0: it got through. Otherwise the errno that refused it. NOT_HERE: this kernel lacks the thing, no verdict.
typedef int (*probe_function)(int argc, char** argv);
#define NOT_HERE (-1)

struct probe {
    const char* name;
    probe_function run;
};

extern const struct probe namespace_probes[];
extern const struct probe process_probes[];
extern const struct probe socket_probes[];
extern const struct probe terminal_probes[];
extern const struct probe memory_probes[];
extern const struct probe file_probes[];
extern const struct probe option_probes[];
extern const struct probe grab_probes[];
extern const struct probe queue_probes[];
extern const struct probe storm_probes[];
extern const struct probe heartbeat_probes[];

// errno of a call that returned `result`, or 0.
static inline int verdict(long result) { return result < 0 ? errno : 0; }

#endif
