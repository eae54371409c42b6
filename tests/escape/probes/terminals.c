// Terminal ioctls that type into somebody else's shell.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

// In a child with a terminal of its own as its controlling one: there the kernel has no objection, only a filter has.
static int on_own_terminal(unsigned long request) {
    const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) return errno;
    const pid_t child = fork();
    if (child == 0) {
        setsid();
        const int terminal = open(ptsname(master), O_RDWR);
        if (terminal < 0 || ioctl(terminal, TIOCSCTTY, 0) != 0) _exit(255);
        const char letter = 2;
        _exit(syscall(SYS_ioctl, terminal, request, &letter) < 0 ? errno : 0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    close(master);
    if (!WIFEXITED(status)) return EACCES;
    return WEXITSTATUS(status) == 255 ? NOT_HERE : WEXITSTATUS(status);
}

static int push_input(int argc, char** argv) {
    (void)argc, (void)argv;
    return on_own_terminal(TIOCSTI);
}

// The kernel looks at the low 32 bits only, a careless filter at all 64 (CVE-2019-10063).
static int push_input_high_bits(int argc, char** argv) {
    (void)argc, (void)argv;
    return on_own_terminal(0x100000000UL | TIOCSTI);
}

const struct probe terminal_probes[] = {{"tiocsti", push_input}, {"tiocsti_high_bits", push_input_high_bits}, {NULL, NULL}};
