#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "isolation/id_map.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::isolation {

struct CgroupLimits {
    std::uint64_t memory_bytes = 0;   // of the workload; swap is always 0
    std::uint32_t cpu_milli = 0;      // 1000: one core
    std::uint32_t pids = 0;           // of the workload
    std::uint64_t io_bytes_per_second = 0;  // 0: none. Enforced on the pool's device, both ways.
    bool operator==(const CgroupLimits&) const = default;
};

// The control groups of one sandbox: a folder `NAME` (in v1: one in each hierarchy) that holds
//   init/   PID 1 and its file tasks, with a small budget of its own (16 MiB, 64 pids): it must answer when the
//           workload is at its limits
//   work/   the workload, with the limits; owned by the init's uid, which makes one leaf "e<N>" per exec below it
// Removing is explicit and can fail while a process is stuck in the kernel (D state); the destructor only closes.
class SandboxCgroup {
public:
    virtual ~SandboxCgroup() = default;

    // For clone3(CLONE_INTO_CGROUP): the unified init leaf. Valid until release().
    [[nodiscard]] virtual int clone_target() const = 0;
    // What the child needs to take its place before it runs anything. Borrowed, valid until settle().
    struct Entry {
        // Open v1 `tasks` files into which it writes "0". A single thread that moves itself that way takes no lock; a
        // pid, or cgroup.procs, waits for an RCU grace period, which is about 10 ms on an idle machine (Linux 5.5).
        std::vector<int> tasks;
        // The sandbox's own folder in the unified tree: the root of its cgroup namespace, since that has to hold work/
        // too. Where cgroup2 is mounted with nsdelegate (systemd does), nothing moves out of a namespace's root.
        int namespace_root = -1;
        // The same for v1, as open `tasks` files: where the one who makes the namespace goes, for no other to follow.
        std::vector<int> namespace_tasks;
    };
    [[nodiscard]] virtual Entry entry() const = 0;
    // Once the child has its namespace, before it gets its plan: what has to wait until no process is in the sandbox's
    // own folder (v2: its controllers and limits). Closes the descriptors of entry().
    [[nodiscard]] virtual Result<void> settle() = 0;
    // The same from outside, for a process that can't do its part (and gets no namespace). Can block, see entry().
    [[nodiscard]] virtual Result<void> enter_init(pid_t pid) = 0;

    // Descriptors for the launch plan (leaf_*, join_procs); borrowed, valid until release(); none after open().
    [[nodiscard]] virtual std::vector<std::pair<FdRole, int>> plan_fds() const = 0;

    // After a launch, successful or not: closes the descriptors of clone_target() and plan_fds(). Everything below works
    // without; a running sandbox costs no descriptor here.
    virtual void release() noexcept = 0;

    // Folders whose counter files an unprivileged reader opens: the sandbox's own folder in the memory tree and in the
    // cpu accounting tree (the same one on v2). Leaves are "work/e<N>" below.
    [[nodiscard]] virtual Result<Fd> open_memory_dir() const = 0;
    [[nodiscard]] virtual Result<Fd> open_cpu_dir() const = 0;
    // The same in the pids tree (pids.events: the sandbox's, no leaves); where there is none, the memory folder.
    [[nodiscard]] virtual Result<Fd> open_pids_dir() const = 0;

    // conflict, with the facts, when the workload uses more memory than the new limit and can't be shrunk.
    [[nodiscard]] virtual Result<void> set_limits(const CgroupLimits& limits) = 0;
    // Everything, PID 1 too. Completes when the kernel reports the state; timeout (and thawed again) if it does not
    // within 2 s. Already in that state: ok.
    [[nodiscard]] virtual Result<void> freeze(bool on) = 0;
    [[nodiscard]] virtual Result<void> kill() = 0;           // cgroup.kill: every process, also new forks
    [[nodiscard]] virtual Result<bool> populated() = 0;
    // Removes every folder. EBUSY (errno) while a process is left.
    [[nodiscard]] virtual Result<void> remove() = 0;
};

enum class CgroupMode { hybrid, v2 };

// Makes and finds sandboxes' groups below one folder of this daemon's own. Two drivers, chosen by probing.
class CgroupDriver {
public:
    virtual ~CgroupDriver() = default;
    [[nodiscard]] virtual CgroupMode mode() const noexcept = 0;
    // conflict when the name exists. On failure nothing is left.
    [[nodiscard]] virtual Result<std::unique_ptr<SandboxCgroup>> create(const std::string& name, const CgroupLimits& limits,
                                                                        const IdMap& ids) = 0;
    // not_found when no hierarchy has it; a half-made one opens too, so that it can be removed.
    [[nodiscard]] virtual Result<std::unique_ptr<SandboxCgroup>> open(const std::string& name) = 0;
    // Names of the folders that exist, whoever made them: what a restart has to adopt or remove.
    [[nodiscard]] virtual Result<std::vector<std::string>> list() = 0;
    // Removes the daemon's own folder when it is empty.
    [[nodiscard]] virtual Result<void> remove_root() = 0;
};

struct CgroupConfig {
    std::string root_name;  // the daemon's folder, "sandboxd-<instance>"
    // Parent of it, a path below each hierarchy's mount; must exist. Empty: the cgroup of the calling process in each
    // hierarchy; the top of the tree on v2.
    std::string parent;
    // The block device of the pool, for io_bytes_per_second; 0: none, then such a limit is refused.
    dev_t io_device = 0;
    // Controllers that may be missing (config: unsafe_missing_controllers); any other missing one is an error.
    std::vector<std::string> allow_missing;
};

// incompatible, naming the controller and the cure, when a limit could not be enforced.
[[nodiscard]] Result<std::unique_ptr<CgroupDriver>> make_cgroup_driver(const CgroupConfig& config);

}  // namespace sandboxd::isolation
