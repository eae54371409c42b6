#include "isolation/jail_plan.hpp"

#include <sys/resource.h>

#include <algorithm>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::isolation {

namespace {

// A second wall behind the owner uid's own counters: an inotify bomb must not reach the host's.
constexpr std::uint32_t kInotifyInstances = 64;
constexpr std::uint32_t kInotifyWatches = 8192;
// The host's out-of-memory killer has to pick a sandbox before it picks anything of the host.
constexpr std::int32_t kOomScoreAdj = 500;
constexpr std::size_t kMaxHostname = 64;  // HOST_NAME_MAX
constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kNone = RLIM_INFINITY;

Error invalid(const char* detail) {
    return Error{Errc::invalid_argument, "launch", detail};
}

Result<void> check_mounts(const MountPlan& plan) {
    const auto& sources = plan.sources;
    if (sources.size() < 2 || sources[0].role != FdRole::upper_mount ||
        sources[1].role != FdRole::lower_mount) {
        return invalid("the mounts are an upper, at least one lower, then the binds");
    }
    std::size_t binds = 0;
    for (std::size_t i = 1; i < sources.size(); ++i) {
        const MountSource& source = sources[i];
        if (source.role == FdRole::bind_mount) {
            if (!source.target.starts_with('/')) return invalid("a bind's target is not absolute");
            ++binds;
        } else if (source.role != FdRole::lower_mount || binds > 0) {
            return invalid("the mounts are an upper, at least one lower, then the binds");
        } else if (!source.read_only) {
            return invalid("a lower is read-only");
        }
    }
    if (sources[0].read_only) return invalid("the upper is writable");
    if (binds > kMaxBinds) return invalid("too many binds");
    return {};
}

}  // namespace

std::vector<Rlimit> default_rlimits() {
    return {
        {RLIMIT_NOFILE, 1024, 65536},
        // 1, not 0: a core_pattern that is a pipe ignores the limit except for this one value.
        {RLIMIT_CORE, 1, 1},
        {RLIMIT_MSGQUEUE, 0, 0},
        {RLIMIT_RTPRIO, 0, 0},
        {RLIMIT_NICE, 0, 0},
        {RLIMIT_MEMLOCK, 8 * kMiB, 8 * kMiB},
        // Each POSIX timer takes one: language profilers make hundreds.
        {RLIMIT_SIGPENDING, 4096, 4096},
        {RLIMIT_STACK, 8 * kMiB, kNone},
        // The host's own values must not leak in: pids and memory are the cgroup's to limit.
        {RLIMIT_NPROC, kNone, kNone},
        {RLIMIT_AS, kNone, kNone},
    };
}

Result<void> check_spec(const JailSpec& spec) {
    if (spec.cgroup == nullptr) return invalid("no cgroup");
    if (spec.seccomp == nullptr || spec.seccomp->names.empty() || spec.seccomp->arguments.empty()) {
        return invalid("no seccomp filters");
    }
    if (spec.init_binary < 0 || spec.agent_listener < 0)
        return invalid("no init binary or agent listener");
    // 0 would map the host's root into the jail, and the range may not wrap around.
    if (spec.ids.base < kIdRange || spec.ids.base > UINT32_MAX - kIdRange)
        return invalid("id range");
    if (spec.hostname.empty() || spec.hostname.size() > kMaxHostname) return invalid("hostname");
    if (spec.rlimits.size() > kMaxRlimits) return invalid("too many rlimits");
    return check_mounts(spec.mounts);
}

std::uint32_t shm_inodes(std::uint64_t bytes) {
    return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(bytes / 4096, 1024, 65536));
}

Result<EncodedPlan> encode_plan(const JailSpec& spec, const JailMounts& mounts) {
    const std::vector<Rlimit> rlimits = spec.rlimits.empty() ? default_rlimits() : spec.rlimits;
    LaunchPlan plan;
    plan.hostname = spec.hostname;
    plan.shm_bytes = spec.shm_bytes;
    plan.shm_inodes = shm_inodes(spec.shm_bytes);
    plan.pty_max = spec.pty_max;
    plan.allow_root = spec.allow_root;
    plan.max_user_inotify_instances = kInotifyInstances;
    plan.max_user_inotify_watches = kInotifyWatches;
    plan.oom_score_adj = kOomScoreAdj;
    plan.first_cpu = spec.first_cpu;
    plan.rlimit_count = static_cast<std::uint32_t>(rlimits.size());
    std::copy(rlimits.begin(), rlimits.end(), plan.rlimits);
    plan.seccomp_arguments = spec.seccomp->arguments;
    plan.seccomp_names = spec.seccomp->names;
    plan.seccomp_refusals = spec.seccomp->refusals;

    EncodedPlan out;
    std::string roles;
    const auto pass = [&](FdRole role, int fd) {
        roles += static_cast<char>(role);
        out.fds.push_back(fd);
    };
    std::size_t binds = 0;
    for (std::size_t i = 0; i < mounts.trees.size(); ++i) {
        const MountSource& source = spec.mounts.sources[i];
        pass(source.role, mounts.trees[i].get());
        if (source.role == FdRole::bind_mount) plan.binds[binds++] = source.target;
    }
    pass(FdRole::agent_listener, spec.agent_listener);
    for (const auto& [role, fd] : spec.cgroup->plan_fds()) pass(role, fd);
    if (spec.cpu_info >= 0) pass(FdRole::cpu_info, spec.cpu_info);
    if (mounts.stage.valid()) pass(FdRole::stage_mount, mounts.stage.get());
    if (mounts.shm.valid()) pass(FdRole::shm_mount, mounts.shm.get());
    if (mounts.sudo_client.valid()) pass(FdRole::sudo_client, mounts.sudo_client.get());
    if (out.fds.size() > sys::kMaxFdsPerMessage)
        return invalid("too many layers: squash the template");
    plan.fd_roles = roles;

    out.bytes.resize(kMaxPlanBytes);
    wire::Writer writer{out.bytes.data(), out.bytes.size()};
    if (!writer(plan))
        return Error{Errc::payload_too_large, "launch", "the plan is larger than its message"};
    out.bytes.resize(writer.size());
    return out;
}

}  // namespace sandboxd::isolation
