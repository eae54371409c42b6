#include "isolation/launch_steps.hpp"

#include <array>

namespace sandboxd::isolation {

namespace {

// Where each is done: the manager's build() for the first three, Jail::launch() and the trampoline for the rest.
constexpr std::array<LaunchStep, 15> kSteps{{
    {"intent", "the state file names the sandbox before anything of it exists: a crash leaves nothing that nobody knows of"},
    {"disk", "a volume with a hard limit, owned 0-based, so that a snapshot fits any sandbox's ids"},
    {"cgroup", "every limit holds before the first instruction; PID 1 has a small budget of its own, to answer when the workload is at its limits"},
    {"agent_socket", "the API will speak to PID 1 directly, through a socket that only the monitor can name"},
    {"clone", "one clone3 with user, mount, pid, network, ipc and uts namespaces, born in its cgroup; by an effective uid of the sandbox's own, so that no per-user counter of the host is shared"},
    {"id_maps", "65,536 ids that no other sandbox has; written by root, once"},
    {"mounts", "layers as read-only and the disk as writable id-mapped clones, nosuid and nodev, handed over as descriptors: no path crosses"},
    {"tmpfs", "made here, so that mountinfo in the jail names no id of the host"},
    {"go", "the child has waited: without its maps it may do nothing"},
    {"enter_cgroups", "the child enters the other hierarchies itself, which takes no lock"},
    {"cgroup_namespace", "rooted at the sandbox's own folder in every hierarchy: no path of the host is seen, and no way leads up"},
    {"set_ids", "no group, root of its own namespace only, a session without the daemon's terminal"},
    {"exec", "sandbox-init from an open descriptor, with three descriptors, no environment and nothing of the daemon's memory"},
    {"settle", "limits that a group takes only once no process is in it (cgroup v2)"},
    {"plan", "one message; the init answers with the stage that failed, or with the optional walls that stand"},
}};

}  // namespace

std::span<const LaunchStep> launch_steps() noexcept {
    return kSteps;
}

}  // namespace sandboxd::isolation
