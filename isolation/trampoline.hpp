#pragma once

// What a jail's first process does between clone3 and the exec of sandbox-init. The child of a
// threaded daemon: it has a copy of a heap and of locks that other threads held, so it runs this
// one function of raw system calls and nothing else. Freestanding; a test holds the object file to
// no undefined symbols.
namespace sandboxd::isolation {

inline constexpr int kMaxEntryFds = 12;
inline constexpr int kFirstSafeFd = 64;
inline constexpr unsigned kTrampolineMagic = 0x54584253;  // "SBXT"

// The steps in order; what a TrampolineReport names.
enum class TrampolineStep : unsigned {
    none = 0,
    descriptors,
    wait_for_go,
    enter_cgroups,
    cgroup_namespace,
    set_ids,
    exec,
};

// One over the set-up socket: step none when all but the exec is done. Then another only if the
// exec fails.
struct TrampolineReport {
    unsigned magic;
    TrampolineStep step;
    int error;
};

// Every descriptor is at least kFirstSafeFd: the child puts copies below it and closes the rest.
struct TrampolinePlan {
    int socket;       // blocking; becomes descriptor 3
    int null_device;  // becomes 0, 1 and 2
    int init_binary;
    int namespace_root;  // the cgroup2 folder that becomes the root of the cgroup namespace
    int task_count;
    int tasks[kMaxEntryFds];  // v1 `tasks` files to enter before that
    int above_count;
    int above[kMaxEntryFds];  // v1 `tasks` files of what become the namespace's other roots
};

[[noreturn]] void run_trampoline(const TrampolinePlan& plan) noexcept;

}  // namespace sandboxd::isolation
