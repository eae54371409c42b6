#pragma once

#include <sys/types.h>

#include "isolation/cgroup.hpp"
#include "isolation/id_map.hpp"
#include "isolation/trampoline.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::isolation {

struct ClonedChild {
    pid_t pid = 0;
    Fd pidfd;
};

// Starts a process in new user, mount, pid, net, ipc, uts and time namespaces (the cgroup one is
// made by the child, see run_trampoline) and in the cgroup `cgroup_fd`, and has it run `plan`. The
// user namespace's owner is `ids.base`: the calling thread has that effective uid, with all its
// capabilities, for the length of the call. Callable from any thread of a threaded process. If the
// thread's own uid could not be restored, the process aborts. A change of credentials also clears
// the calling thread's PR_SET_PDEATHSIG.
[[nodiscard]] Result<ClonedChild> clone_child(int cgroup_fd, const IdMap& ids,
                                              const TrampolinePlan& plan);

// A copy at or above kFirstSafeFd, as run_trampoline needs it.
[[nodiscard]] Result<Fd> dup_out_of_the_way(int fd);

}  // namespace sandboxd::isolation
