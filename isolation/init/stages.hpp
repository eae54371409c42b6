#pragma once

#include <errno.h>

#include "isolation/init/jail_state.hpp"

// The set-up steps, one function each, by what they make. The table in stages.cpp has their order and reasons. Each
// returns 0, or -1 with errno set.
namespace sandboxd::init {

// root.cpp: the tree that becomes /
int root_overlay(JailState& jail);
int binds(JailState& jail);
int sudo_door(JailState& jail);
int proc(JailState& jail);
int sys(JailState& jail);
int dev(JailState& jail);
int shm(JailState& jail);
// masks.cpp: what of /proc is hidden or read-only
int masks(JailState& jail);
// limits_view.cpp: what is shown instead of the host's
int limits_view(JailState& jail);
// walls.cpp: what limits and confines beside namespaces, capabilities and seccomp
int keyring(JailState& jail);
int user_limits(JailState& jail);
int core_scheduling(JailState& jail);
int landlock(JailState& jail);

inline int invalid(int error) {
    errno = error;
    return -1;
}

// Clones a mount, or a file or folder in one, and puts the clone at `path` below the new root, with these attributes on
// top of the source's. What is cloned must be attached somewhere in this namespace: before 6.15 the kernel clones nothing
// else. ENOENT and ENOTDIR: the new root has no such path.
int show(const JailState& jail, int source, const char* name, const char* path, unsigned attributes);
// Moves a detached mount to a folder below `root`.
int attach_below(int root, const char* path, int mount);

}  // namespace sandboxd::init
