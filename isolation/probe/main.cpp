// sandbox-probe: tries the walls of a jail. One program for both sides: in the jail it tries, outside it has it tried.
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "isolation/probe/conduct.hpp"
#include "isolation/probe/finding.hpp"
#include "isolation/probe/limits.hpp"
#include "isolation/probe/report.hpp"

namespace {

using namespace sandboxd::probe;
using sandboxd::isolation::wall_info;
using sandboxd::isolation::WallStatus;

const char* status_name(WallStatus status) {
    switch (status) {
        case WallStatus::holds: return "holds";
        case WallStatus::absent: return "absent";
        case WallStatus::broken: return "broken";
    }
    return "broken";
}

// For people with names, for the conductor with numbers.
void try_all(const Limits& limits, bool for_people) {
    for (const WallAttempt* table : {kKernelAttempts, kSocketAttempts, kSurroundingAttempts, kLimitAttempts}) {
        for (; table->attempt != nullptr; ++table) {
            Finding finding;
            table->attempt(finding, limits);
            if (for_people) {
                (void)::printf("%s %s %s\n", wall_info(table->wall).name.data(), status_name(finding.status()), finding.observed());
            } else {
                (void)::printf("%u %u %s\n", static_cast<unsigned>(table->wall), static_cast<unsigned>(finding.status()), finding.observed());
            }
            (void)::fflush(stdout);
        }
    }
    if (!for_people) (void)::fputs(kEndOfReports, stdout);
    (void)::fflush(stdout);
}

unsigned long number(const char* text) { return ::strtoul(text, nullptr, 10); }

// Descriptor 3 is the user namespace of programs in a jail. Root of the host, inside of it and without any filter, tries
// to make one more: the exit status is the errno.
int try_nested_userns() {
    if (::setns(3, CLONE_NEWUSER) != 0) return 250;
    return ::unshare(CLONE_NEWUSER) == 0 ? 0 : errno;
}

int usage() {
    (void)::fputs("sandbox-probe tries the walls of the sandbox that it runs in; sandboxd starts it.\n"
                  "  sandbox-probe show DISK_BYTES PROCESSES   what holds here, for people\n"
                  "  sandbox-probe --version\n",
                  stderr);
    return 2;
}

int run(int argc, char** argv) {
    const char* mode = argc > 1 ? argv[1] : "";
    if (::strcmp(mode, "--version") == 0) return ::puts(SANDBOXD_VERSION) < 0 ? 1 : 0;
    if (::strcmp(mode, "memory") == 0 && argc == 3) return use_memory(number(argv[2]));
    if (::strcmp(mode, "--nested-userns") == 0 && argc == 2) return try_nested_userns();
    const bool show = ::strcmp(mode, "show") == 0;
    if ((show || ::strcmp(mode, "walls") == 0) && argc == 4) {
        Limits limits;
        limits.disk_bytes = number(argv[2]);
        limits.processes = number(argv[3]);
        try_all(limits, show);
        // Until it has been looked at from outside.
        char byte = 0;
        while (!show && ::read(0, &byte, 1) > 0) {
        }
        return 0;
    }
    if (::strcmp(mode, "--conduct") == 0 && argc == 8) {
        Conduct what;
        what.uid = static_cast<std::uint32_t>(number(argv[2]));
        what.gid = static_cast<std::uint32_t>(number(argv[3]));
        what.memory_bytes = number(argv[4]);
        what.disk_bytes = number(argv[5]);
        what.processes = number(argv[6]);
        what.as_root = ::strcmp(argv[7], "root") == 0;
        return conduct(what);
    }
    return usage();
}

}  // namespace

int main(int argc, char** argv) { return run(argc, argv); }
