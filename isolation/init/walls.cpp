// What limits and confines beside namespaces, capabilities and seccomp.
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "isolation/init/kernel.hpp"
#include "isolation/init/stages.hpp"

namespace sandboxd::init {

using isolation::Wall;

// Keyrings are not namespaced (keyrings(7)): without this the jail would share the session keyring of the daemon.
int keyring(JailState& jail) {
    const long rc = ::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);
    if (rc >= 0) jail.walls.add(Wall::keyring);
    return rc < 0 && errno != ENOSYS ? -1 : 0;
}

// Limits of this user namespace and all below it (namespaces(7), kernel 4.9). One more user namespace is made in the
// next stage; the limit counts it, so that nothing inside can make another, also without seccomp. inotify instances are
// charged per user up to the namespace's owner: unlimited, one sandbox could use up the host's.
// max_mnt_namespaces last: making a detached mount counts as one.
int user_limits(JailState& jail) {
    struct Limit {
        const char* name;
        std::uint64_t value;
    };
    const Limit limits[] = {{"max_user_namespaces", 1},   {"max_pid_namespaces", 0},  {"max_uts_namespaces", 0}, {"max_ipc_namespaces", 0},
                            {"max_net_namespaces", 0},    {"max_cgroup_namespaces", 0}, {"max_time_namespaces", 0},
                            {"max_inotify_instances", jail.plan.max_user_inotify_instances},
                            {"max_inotify_watches", jail.plan.max_user_inotify_watches},
                            {"max_fanotify_groups", 0},   {"max_fanotify_marks", 0},  {"max_mnt_namespaces", 0}};
    bool all = true;
    for (const Limit& limit : limits) {
        Text<24> value;
        value.add(limit.value);
        if (write_file(jail.user_sysctls, limit.name, value.view()) == 0) continue;
        if (errno != ENOENT) return -1;
        all = false;
    }
    if (all) jail.walls.add(Wall::user_limits);
    ::close(jail.user_sysctls);
    return 0;
}

namespace {

constexpr int kPrSchedCore = 62;  // <linux/prctl.h> of 5.14
constexpr unsigned long kCreate = 1;
constexpr unsigned long kOneThread = 0;

// <linux/landlock.h> of 6.12, of which an older kernel takes the part that it knows.
struct LandlockRuleset {
    std::uint64_t files;
    std::uint64_t network;
    std::uint64_t scopes;
};
struct [[gnu::packed]] LandlockPath {
    std::uint64_t allowed;
    std::int32_t folder;
};
constexpr std::uint64_t kMakeCharacterDevice = 1ULL << 6;
constexpr std::uint64_t kMakeBlockDevice = 1ULL << 11;
constexpr std::uint64_t kRefer = 1ULL << 13;
constexpr std::uint64_t kScopeAbstractSockets = 1ULL << 0;
constexpr std::uint64_t kScopeSignals = 1ULL << 1;
constexpr unsigned kAskVersion = 1;
constexpr int kPathBeneath = 1;
constexpr long kFirstWithRefer = 2;   // 5.19
constexpr long kFirstWithScopes = 6;  // 6.12

// Moving a file to another folder is refused under any rule about files unless it is asked for.
bool allow_moves(int ruleset) {
    LandlockPath rule{kRefer, ::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)};
    if (rule.folder < 0) return false;
    const long rc = ::syscall(SYS_landlock_add_rule, ruleset, kPathBeneath, &rule, 0);
    ::close(rule.folder);
    return rc == 0;
}

}  // namespace

// No other sandbox shares a core with this one at the same time (kernel 5.14, CONFIG_SCHED_CORE). All that PID 1 starts
// inherits the cookie. ENODEV: this machine runs one thread per core, so there is nothing to share.
int core_scheduling(JailState& jail) {
    if (::prctl(kPrSchedCore, kCreate, 0, kOneThread, 0) == 0 || errno == ENODEV) jail.walls.add(Wall::core_scheduling);
    return 0;
}

// A second wall, which asks neither for capabilities nor for namespaces. In a domain with a rule about files nobody
// mounts, unmounts or pivots any more (landlock(7)); device nodes are what no workload makes. What a path may be read or
// written is left to the mounts: rules about it would hold the same tree. Signals and abstract sockets stay in the
// domain: if ever a descriptor or a namespace of the host got in here, they would still not reach it.
// One domain for the whole jail, PID 1 with it, so that one exec may signal another's processes.
int landlock(JailState& jail) {
    const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kAskVersion);
    if (version < kFirstWithRefer) return 0;
    const bool scopes = version >= kFirstWithScopes;
    const LandlockRuleset rules{kMakeCharacterDevice | kMakeBlockDevice | kRefer, 0, kScopeAbstractSockets | kScopeSignals};
    const auto size = scopes ? sizeof rules : sizeof rules.files;
    const auto ruleset = static_cast<int>(::syscall(SYS_landlock_create_ruleset, &rules, size, 0));
    if (ruleset < 0 || !allow_moves(ruleset) || ::syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) return -1;
    ::close(ruleset);
    jail.walls.add(Wall::landlock_mounts);
    if (scopes) jail.walls.add(Wall::landlock_scopes);
    return 0;
}

}  // namespace sandboxd::init
