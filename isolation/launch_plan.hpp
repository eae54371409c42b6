#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sandboxd/core/wire.hpp"

// What the monitor tells sandbox-init about the jail it is to become: one message with its descriptors over the
// set-up socket (fd 3, AF_UNIX SOCK_SEQPACKET), answered by SetupReport. Used by sandbox-init: freestanding
// headers only. See isolation/README.md for the order of steps on both sides.
namespace sandboxd::isolation {

inline constexpr std::uint32_t kPlanMagic = 0x314c5853;  // "SXL1"
inline constexpr std::uint16_t kPlanVersion = 2;
inline constexpr std::size_t kMaxPlanBytes = 64 * 1024;
inline constexpr int kSetupSocket = 3;

// User namespaces of a jail. U1 (the outer) owns every other namespace and maps 65,536 ids, 0-based, to the
// sandbox's range. PID 1 runs in U1 as kInitId. The workload lives in U2, nested, which maps ids 0..65533 to
// themselves and owns nothing; kInitId has no name in it, so no id that user code can take signals, traces or
// prlimits PID 1.
inline constexpr std::uint32_t kIdRange = 65536;
inline constexpr std::uint32_t kInitId = 65535;
inline constexpr std::uint32_t kWorkloadIds = 65534;
inline constexpr std::uint32_t kUserId = 1000;  // `user`, home /home/user

// The role of each descriptor that comes with the plan, in order.
enum class FdRole : std::uint8_t {
    upper_mount = 1,      // detached id-mapped mount whose root holds the folders "u" (upper) and "w" (work)
    lower_mount = 2,      // detached read-only id-mapped mount; several: topmost layer first
    bind_mount = 3,       // detached mount for the next entry of `binds`, in order
    agent_listener = 4,   // AF_UNIX SOCK_SEQPACKET, listening
    // cgroups. Leaves for execs are made by the init below these folders, which it owns (uid kInitId).
    leaf_unified = 5,     // v2 or hybrid: folder in the cgroup2 tree: cgroup.kill, CLONE_INTO_CGROUP
    leaf_memory = 6,      // v1 only: folder in the memory hierarchy
    leaf_cpuacct = 7,     // v1 only: folder in the cpuacct hierarchy
    join_procs = 8,       // v1 only: an open `tasks` file of the workload's group in a hierarchy that needs no leaf
                          // per exec (pids, cpu, ...); a single-threaded child writes "0" to enter
    limits_cpu = 9,       // v1 only, where cpu has no leaves: the workload's folder in that hierarchy, to read its quota
    // Two tmpfs of the host's, id-mapped: what the init stages (layers' places, /dev, /sys, the view of the limits), and
    // /dev/shm. Left out where the kernel can't id-map a tmpfs (before 6.3): the init then makes its own, and their
    // options in mountinfo name the host id of the jail's root.
    stage_mount = 10,
    shm_mount = 11,
    cpu_info = 12,        // sealed memfd: the host's /proc/cpuinfo
    sudo_client = 13,     // detached mount of one file: the program behind `sudo`
};

struct Rlimit {
    std::uint32_t resource = 0;
    std::uint64_t soft = 0;
    std::uint64_t hard = 0;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.resource) && a(s.soft) && a(s.hard); }
};

inline constexpr std::size_t kMaxBinds = 8;
inline constexpr std::size_t kMaxRlimits = 16;

struct LaunchPlan {
    std::uint32_t magic = kPlanMagic;
    std::uint16_t version = kPlanVersion;
    std::string_view hostname;
    std::string_view fd_roles;           // one FdRole byte per descriptor
    std::string_view binds[kMaxBinds];   // target paths for the bind_mount descriptors; "" ends the list
    std::uint64_t shm_bytes = 0;         // /dev/shm
    std::uint32_t shm_inodes = 0;
    std::uint32_t pty_max = 0;           // devpts max=
    bool allow_root = false;             // execs with uid 0 are accepted (8 capabilities, see security doc)
    std::uint32_t max_user_inotify_instances = 0;  // /proc/sys/user limits of U1
    std::uint32_t max_user_inotify_watches = 0;
    std::int32_t oom_score_adj = 0;      // of the workload
    std::uint32_t first_cpu = 0;         // where in the list of the host's CPUs the sandbox's own begin
    std::uint32_t rlimit_count = 0;
    Rlimit rlimits[kMaxRlimits];         // of the workload
    // BPF programs for seccomp(SECCOMP_SET_MODE_FILTER), arrays of struct sock_filter; the argument filter is loaded
    // last, see isolation/seccomp.hpp. With refusals (RefusalRules, refusal_rules.hpp) it gets a listener.
    std::string_view seccomp_arguments;
    std::string_view seccomp_names;
    std::string_view seccomp_refusals;

    template <class A, class S>
    static bool visit(A& a, S& s) {
        return a(s.magic) && a(s.version) && a(s.hostname) && a(s.fd_roles) && a(s.binds) && a(s.shm_bytes) &&
               a(s.shm_inodes) && a(s.pty_max) && a(s.allow_root) && a(s.max_user_inotify_instances) &&
               a(s.max_user_inotify_watches) && a(s.oom_score_adj) && a(s.first_cpu) && a(s.rlimit_count) && a(s.rlimits) &&
               a(s.seccomp_arguments) && a(s.seccomp_names) && a(s.seccomp_refusals);
    }
};

// The set-up steps of sandbox-init in the order in which they run; `sandbox-init --print-stages` prints the real list.
enum class Stage : std::uint16_t {
    none = 0,
    receive_plan, private_mounts, root_overlay, binds, sudo, proc, limits_view, sys, dev, shm, masks, pivot, loopback,
    hostname, clocks, keyring, user_limits, workload_userns, core_scheduling, drop_privileges, landlock, agent, ready,
};

[[nodiscard]] constexpr const char* stage_name(Stage s) noexcept {
    switch (s) {
        case Stage::none: return "none";
        case Stage::receive_plan: return "receive_plan";
        case Stage::private_mounts: return "private_mounts";
        case Stage::root_overlay: return "root_overlay";
        case Stage::binds: return "binds";
        case Stage::sudo: return "sudo";
        case Stage::proc: return "proc";
        case Stage::limits_view: return "limits_view";
        case Stage::sys: return "sys";
        case Stage::dev: return "dev";
        case Stage::shm: return "shm";
        case Stage::masks: return "masks";
        case Stage::pivot: return "pivot";
        case Stage::loopback: return "loopback";
        case Stage::hostname: return "hostname";
        case Stage::clocks: return "clocks";
        case Stage::keyring: return "keyring";
        case Stage::user_limits: return "user_limits";
        case Stage::workload_userns: return "workload_userns";
        case Stage::core_scheduling: return "core_scheduling";
        case Stage::drop_privileges: return "drop_privileges";
        case Stage::landlock: return "landlock";
        case Stage::agent: return "agent";
        case Stage::ready: return "ready";
    }
    return "unknown";
}

// Walls that a kernel may lack; everything else holds or the jail is not made. A second line each: what stands behind it
// is the one that a workload would have to break first.
enum class Wall : std::uint32_t {
    landlock_mounts = 1U << 0,   // nobody in the jail changes mounts or makes device nodes, whatever his capabilities
    landlock_scopes = 1U << 1,   // no signal and no abstract socket reaches past the jail, whatever its namespaces
    core_scheduling = 1U << 2,   // no other sandbox runs on the same core's other thread; also: this machine has no such
    keyring = 1U << 3,           // a session keyring of its own (else: the kernel has no keyrings)
    user_limits = 1U << 4,       // every limit of user.max_* is set
    hidden_ids = 1U << 5,        // mountinfo names no id of the host
};
inline constexpr Wall kWalls[] = {Wall::landlock_mounts, Wall::landlock_scopes, Wall::core_scheduling,
                                  Wall::keyring,         Wall::user_limits,     Wall::hidden_ids};

[[nodiscard]] constexpr const char* wall_name(Wall wall) noexcept {
    switch (wall) {
        case Wall::landlock_mounts: return "landlock_mounts";
        case Wall::landlock_scopes: return "landlock_scopes";
        case Wall::core_scheduling: return "core_scheduling";
        case Wall::keyring: return "keyring";
        case Wall::user_limits: return "user_limits";
        case Wall::hidden_ids: return "hidden_ids";
    }
    return "unknown";
}

// Which of them stand, of one jail.
struct Walls {
    std::uint32_t bits = 0;
    constexpr void add(Wall wall) noexcept { bits |= static_cast<std::uint32_t>(wall); }
    [[nodiscard]] constexpr bool has(Wall wall) const noexcept { return (bits & static_cast<std::uint32_t>(wall)) != 0; }
    bool operator==(const Walls&) const = default;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.bits); }
};

// The init's one answer: stage ready and error 0, or the stage that failed and its errno; then it exits.
struct SetupReport {
    Stage stage{};
    std::int32_t error = 0;
    Walls walls;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.stage) && a(s.error) && a(s.walls); }
};

}  // namespace sandboxd::isolation
