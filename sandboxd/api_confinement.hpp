#pragma once

#include <sys/types.h>

#include <string>

#include "sandboxd/core/result.hpp"

namespace sandboxd {

// Makes `folder` reachable for a process that may not pass the folders above it (a state directory below /root, or in a
// folder of mktemp): a mount namespace of its own, in which the folder stands at the path that comes back. Mounts that
// the host makes and ends go on being followed, so nothing is kept busy. Needs root.
[[nodiscard]] Result<std::string> move_into_folder(const std::string& folder);

// Gives up everything that sandboxd-api does not need. Called before a byte of a client, a jail or the configuration
// is read. Order matters: ids, capabilities, no_new_privs; each is checked afterwards.
[[nodiscard]] Result<void> drop_privileges(uid_t uid, gid_t gid);

// A second wall: the process sees only its own folder (Landlock, kernel 5.13; without it file permissions remain) and
// may make only the system calls that an HTTP server with an SQLite file makes (seccomp allow-list: no exec, no ptrace,
// no new sockets, no namespaces, no bpf). To be called before threads are started.
[[nodiscard]] Result<void> confine(const std::string& own_folder);

}  // namespace sandboxd
