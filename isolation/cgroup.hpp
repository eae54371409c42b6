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

    // For clone3(CLONE_INTO_CGROUP): the unified init leaf. Then, before the child runs anything, put it into the
    // other hierarchies' init leaves (v1; nothing to do on v2).
    [[nodiscard]] virtual int clone_target() const = 0;
    [[nodiscard]] virtual Result<void> enter_init(pid_t pid) = 0;

    // Descriptors for the launch plan (leaf_*, join_procs); borrowed, valid while this lives.
    [[nodiscard]] virtual std::vector<std::pair<FdRole, int>> plan_fds() const = 0;

    // Folders whose counter files an unprivileged reader opens: the sandbox's own folder in the memory tree and in the
    // cpu accounting tree (the same one on v2). Leaves are "work/e<N>" below.
    [[nodiscard]] virtual int memory_dir() const = 0;
    [[nodiscard]] virtual int cpu_dir() const = 0;

    [[nodiscard]] virtual Result<void> set_limits(const CgroupLimits& limits) = 0;
    [[nodiscard]] virtual Result<void> freeze(bool on) = 0;  // completes when the kernel reports the state
    [[nodiscard]] virtual Result<void> kill() = 0;           // cgroup.kill: every process, also new forks
    [[nodiscard]] virtual Result<bool> populated() = 0;
    // Becomes readable (POLLPRI) when `populated` changes: cgroup.events of the unified folder.
    [[nodiscard]] virtual int events_fd() const = 0;
    // Removes every folder. EBUSY (errno) while a process is left.
    [[nodiscard]] virtual Result<void> remove() = 0;
};

enum class CgroupMode { hybrid, v2 };

// Makes and finds sandboxes' groups below one folder of this daemon's own. Two drivers, chosen by probing.
class CgroupDriver {
public:
    virtual ~CgroupDriver() = default;
    [[nodiscard]] virtual CgroupMode mode() const noexcept = 0;
    [[nodiscard]] virtual Result<std::unique_ptr<SandboxCgroup>> create(const std::string& name, const CgroupLimits& limits,
                                                                        const IdMap& ids) = 0;
    [[nodiscard]] virtual Result<std::unique_ptr<SandboxCgroup>> open(const std::string& name) = 0;
    // Names of the folders that exist, whoever made them: what a restart has to adopt or remove.
    [[nodiscard]] virtual Result<std::vector<std::string>> list() = 0;
    // Removes the daemon's own folder when it is empty.
    [[nodiscard]] virtual Result<void> remove_root() = 0;
};

struct CgroupConfig {
    std::string root_name;  // the daemon's folder, "sandboxd-<instance>"
    // Parent of it. Empty: the cgroup of the calling process in each v1 hierarchy; the top of the tree on v2.
    std::string parent;
    // Controllers that may be missing (config: unsafe_missing_controllers); any other missing one is an error.
    std::vector<std::string> allow_missing;
};

// incompatible, naming the controller and the cure, when a limit could not be enforced.
[[nodiscard]] Result<std::unique_ptr<CgroupDriver>> make_cgroup_driver(const CgroupConfig& config);

}  // namespace sandboxd::isolation
