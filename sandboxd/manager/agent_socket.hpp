#pragma once

#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/core/result.hpp"

// The meeting point of a jail and whoever talks to it: a listening AF_UNIX SOCK_SEQPACKET socket that sandbox-init holds,
// with its name in a folder that only root can enter. It outlives the monitor and the API, so both can come back.
namespace sandboxd::manager {

// `dir`: the folder, by descriptor (a path may be longer than the 107 bytes of sun_path).
[[nodiscard]] Result<Fd> listen_agent(int dir, const SandboxId& id);
[[nodiscard]] Result<Fd> connect_agent(int dir, const SandboxId& id);
[[nodiscard]] Result<void> remove_agent(int dir, const SandboxId& id);  // idempotent

}  // namespace sandboxd::manager
