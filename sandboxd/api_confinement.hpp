#pragma once

#include <sys/types.h>

#include <string>

#include "sandboxd/core/result.hpp"

namespace sandboxd {

// Gives up everything that sandboxd-api does not need. Called before a byte of a client, a jail or the configuration
// is read. Order matters: ids, capabilities, no_new_privs; each is checked afterwards.
[[nodiscard]] Result<void> drop_privileges(uid_t uid, gid_t gid);

// A second wall: the process sees only its own folder (Landlock, kernel 5.13; without it file permissions remain) and
// may make only the system calls that an HTTP server with an SQLite file makes (seccomp allow-list: no exec, no ptrace,
// no new sockets, no namespaces, no bpf). To be called before threads are started.
[[nodiscard]] Result<void> confine(const std::string& own_folder);

}  // namespace sandboxd
