#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sandboxd/core/wire.hpp"

// The walls of a jail that the self-test looks at, and the words between its parts. Used by sandbox-probe: freestanding
// headers only. docs/security.md says what each line of an attestation means; a test holds the two to each other.
namespace sandboxd::isolation {

// Values are those of the report protocol: append only.
enum class TestedWall : std::uint8_t {
    user_namespaces, other_namespaces, mounts, tracing, bpf, perf_events, io_uring, userfaultfd, keyrings, kernel_modules,
    file_handles, pidfd_getfd, page_splicing, futex_pi, raw_sockets, socket_families, socket_options, terminal_injection,
    foreign_syscalls, host_settings, device_nodes, proc_masks, sysctls, cgroup_files, other_processes, init_process, network,
    user_quotas, core_dumps, process_limit, disk_limit, memory_limit,
    namespaces, nested_userns_limit, id_range, capabilities, no_new_privs, seccomp_filters, descriptors, mount_table,
    landlock, core_scheduling,
    count,
};
inline constexpr std::size_t kTestedWallCount = static_cast<std::size_t>(TestedWall::count);

enum class WallStatus : std::uint8_t {
    holds = 0,
    absent = 1,  // this kernel or this build has no such wall; only optional ones
    broken = 2,
};

// Who saw it: a program in the jail that tried to get through, or the monitor, reading what the kernel says of that program.
enum class Seen : std::uint8_t { tried_inside, looked_at_from_outside };

struct WallInfo {
    TestedWall wall;
    std::string_view name;
    bool required;
    Seen seen;
};

inline constexpr WallInfo kTestedWalls[kTestedWallCount] = {
    {TestedWall::user_namespaces, "user_namespaces", true, Seen::tried_inside},
    {TestedWall::other_namespaces, "other_namespaces", true, Seen::tried_inside},
    {TestedWall::mounts, "mounts", true, Seen::tried_inside},
    {TestedWall::tracing, "tracing", true, Seen::tried_inside},
    {TestedWall::bpf, "bpf", true, Seen::tried_inside},
    {TestedWall::perf_events, "perf_events", true, Seen::tried_inside},
    {TestedWall::io_uring, "io_uring", true, Seen::tried_inside},
    {TestedWall::userfaultfd, "userfaultfd", true, Seen::tried_inside},
    {TestedWall::keyrings, "keyrings", true, Seen::tried_inside},
    {TestedWall::kernel_modules, "kernel_modules", true, Seen::tried_inside},
    {TestedWall::file_handles, "file_handles", true, Seen::tried_inside},
    {TestedWall::pidfd_getfd, "pidfd_getfd", true, Seen::tried_inside},
    {TestedWall::page_splicing, "page_splicing", true, Seen::tried_inside},
    {TestedWall::futex_pi, "futex_pi", true, Seen::tried_inside},
    {TestedWall::raw_sockets, "raw_sockets", true, Seen::tried_inside},
    {TestedWall::socket_families, "socket_families", true, Seen::tried_inside},
    {TestedWall::socket_options, "socket_options", true, Seen::tried_inside},
    {TestedWall::terminal_injection, "terminal_injection", true, Seen::tried_inside},
    {TestedWall::foreign_syscalls, "foreign_syscalls", true, Seen::tried_inside},
    {TestedWall::host_settings, "host_settings", true, Seen::tried_inside},
    {TestedWall::device_nodes, "device_nodes", true, Seen::tried_inside},
    {TestedWall::proc_masks, "proc_masks", true, Seen::tried_inside},
    {TestedWall::sysctls, "sysctls", true, Seen::tried_inside},
    {TestedWall::cgroup_files, "cgroup_files", true, Seen::tried_inside},
    {TestedWall::other_processes, "other_processes", true, Seen::tried_inside},
    {TestedWall::init_process, "init_process", true, Seen::tried_inside},
    {TestedWall::network, "network", true, Seen::tried_inside},
    {TestedWall::user_quotas, "user_quotas", true, Seen::tried_inside},
    {TestedWall::core_dumps, "core_dumps", true, Seen::tried_inside},
    {TestedWall::process_limit, "process_limit", true, Seen::tried_inside},
    {TestedWall::disk_limit, "disk_limit", true, Seen::tried_inside},
    {TestedWall::memory_limit, "memory_limit", true, Seen::tried_inside},
    {TestedWall::namespaces, "namespaces", true, Seen::looked_at_from_outside},
    {TestedWall::nested_userns_limit, "nested_userns_limit", true, Seen::looked_at_from_outside},
    {TestedWall::id_range, "id_range", true, Seen::looked_at_from_outside},
    {TestedWall::capabilities, "capabilities", true, Seen::looked_at_from_outside},
    {TestedWall::no_new_privs, "no_new_privs", true, Seen::looked_at_from_outside},
    {TestedWall::seccomp_filters, "seccomp_filters", true, Seen::looked_at_from_outside},
    {TestedWall::descriptors, "descriptors", true, Seen::looked_at_from_outside},
    {TestedWall::mount_table, "mount_table", true, Seen::looked_at_from_outside},
    {TestedWall::landlock, "landlock", false, Seen::tried_inside},
    {TestedWall::core_scheduling, "core_scheduling", false, Seen::looked_at_from_outside},
};

[[nodiscard]] constexpr const WallInfo& wall_info(TestedWall wall) noexcept { return kTestedWalls[static_cast<std::size_t>(wall)]; }

// Every row stands at its wall's number.
static_assert([] {
    for (std::size_t i = 0; i < kTestedWallCount; ++i) {
        if (static_cast<std::size_t>(kTestedWalls[i].wall) != i) return false;
    }
    return true;
}());

// sandbox-probe --conduct -> the monitor: SOCK_SEQPACKET, one packet for each wall that was tried, then one with wall
// `count`: the conversation is over (failed_step empty), or could not be had. Bounded by both sides.
inline constexpr std::size_t kMaxObserved = 160;
inline constexpr std::size_t kMaxReport = 512;

struct WallReport {
    TestedWall wall = TestedWall::count;
    WallStatus status = WallStatus::broken;
    std::int32_t error = 0;           // of the last packet: errno of the step that failed
    std::string_view observed;        // of the last packet: that step, empty when all went well
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.wall) && a(s.status) && a(s.error) && a(s.observed); }
};

// The order of the execs in the self-test's jail; their numbers name the cgroup leaves ("e3").
inline constexpr std::uint64_t kMemoryExec = 1;
inline constexpr std::uint64_t kRootExec = 2;
inline constexpr std::uint64_t kUserExec = 3;  // waits to be looked at until the conductor ends

}  // namespace sandboxd::isolation
