#pragma once

#include <cstddef>
#include <cstdint>

#include "isolation/init/jail_state.hpp"
#include "sandboxd/agent/protocol.hpp"

namespace sandboxd::init {

// Serves one file request in a child of its own, with the ids that the request names: what a path reaches is what that
// user could reach. Answers on `connection` by itself. Returns the child's pid, or -1 with errno.
int start_file_task(const JailState& jail, int connection, const agent::Header& header, wire::Reader body);

// Connects to a port of the jail's loopback in a child; answers with the socket.
int start_connect_task(const JailState& jail, int connection, std::uint32_t request, std::uint16_t port);

}  // namespace sandboxd::init
