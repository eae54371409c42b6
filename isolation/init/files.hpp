#pragma once

#include <cstddef>
#include <cstdint>

#include "isolation/init/jail_state.hpp"
#include "sandboxd/agent/protocol.hpp"

namespace sandboxd::init {

// Where a task answers, and the byte (in memory shared with the init) in which it notes that it has.
struct TaskReply {
    int connection = -1;
    std::uint32_t request = 0;
    std::uint8_t* answered = nullptr;
};

// Serves one file request in a child of its own, with the ids that the request names: what a path reaches is what that
// user could reach. Answers by itself. Returns the child's pid, or -1 with errno.
int start_file_task(const JailState& jail, const TaskReply& reply, agent::Type type, wire::Reader body);

// Connects to a port of the jail's loopback in a child; answers with the socket.
int start_connect_task(const JailState& jail, const TaskReply& reply, std::uint16_t port);

}  // namespace sandboxd::init
