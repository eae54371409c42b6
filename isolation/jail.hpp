#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "isolation/cgroup.hpp"
#include "isolation/id_map.hpp"
#include "isolation/mount_plan.hpp"
#include "isolation/seccomp.hpp"
#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::isolation {

namespace asio = boost::asio;

// Everything that a launch needs; plain values and borrowed descriptors, which must stay valid until launch completes.
struct JailSpec {
    IdMap ids;
    std::string hostname;
    MountPlan mounts;
    std::uint64_t shm_bytes = 64 << 20;
    std::uint32_t pty_max = 64;
    bool allow_root = true;
    std::vector<Rlimit> rlimits;  // empty: default_rlimits()
    int init_binary = -1;      // O_PATH of sandbox-init
    int agent_listener = -1;   // bound and listening
    int cpu_info = -1;         // memfd with the host's /proc/cpuinfo; -1: the jail sees none
    int sudo_client = -1;      // O_PATH of sandbox-sudo; -1: the jail has no `sudo`
    std::uint32_t first_cpu = 0;  // where in the list of this machine's CPUs the sandbox's begin
    SandboxCgroup* cgroup = nullptr;
    const SeccompFilters* seccomp = nullptr;
};

[[nodiscard]] std::vector<Rlimit> default_rlimits();

// One confined process tree, ready to take execs. A Jail in hand is already confined: there is no half-made state.
// Holds PID 1 by pidfd. Deliberately does NOT kill in its destructor: jails outlive the daemon (a crash must kill no
// work); ending one is SandboxCgroup::kill() and then wait().
class Jail {
public:
    // clone3 with every namespace into the cgroup, id maps, id-mapped mounts, the plan, and the init's report.
    // On failure the child is dead and reaped; the Error names the Stage of the init or the step here.
    static asio::awaitable<Result<Jail>> launch(JailSpec spec, Deadline deadline);
    // A jail made by an earlier daemon, recognised by pid and start time.
    [[nodiscard]] static Result<Jail> adopt(const sys::ProcessIdentity& init);

    Jail(Jail&&) noexcept;
    Jail& operator=(Jail&&) noexcept;
    ~Jail();

    [[nodiscard]] const sys::ProcessIdentity& init() const noexcept;
    [[nodiscard]] int pidfd() const noexcept;
    // What the init reported; of an adopted jail nothing is known here.
    [[nodiscard]] Walls walls() const noexcept;
    // Completes when PID 1 is gone; reaps it when it is our child. Cancelling leaves the jail running.
    asio::awaitable<Result<void>> wait(Deadline deadline);

private:
    struct Impl;
    explicit Jail(std::unique_ptr<Impl> impl) noexcept;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sandboxd::isolation
