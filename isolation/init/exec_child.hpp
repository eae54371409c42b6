#pragma once

#include "isolation/init/jail_state.hpp"
#include "sandboxd/agent/protocol.hpp"

namespace sandboxd::init {

// What the child of an exec is given; descriptors are the child's ends.
struct ChildSpec {
    const agent::Exec* request = nullptr;
    int stdio[3] = {-1, -1, -1};  // without a terminal
    int files = -1;               // memfd of kWithFiles
    int terminal = -1;            // which of stdio becomes the controlling terminal, -1: none
    int enter_leaf = -1;          // the exec's cgroup2 folder, where it was not born there
    int status = -1;              // SEQPACKET: a descriptor with its Handover, or a Failure; hangs up at exec
};

// The byte that comes with a descriptor of the child.
enum class Handover : std::uint8_t {
    terminal = 1,  // the master
    listener = 2,  // of the seccomp filters
};

// Becomes the program. Never returns.
[[noreturn]] void run_child(const JailState& jail, const ChildSpec& spec);

// For a file task, which never execs: enters the workload's namespace and takes the user's file system ids only. Files
// see that user; signals see the init's own id, so the workload can neither stop nor end a task that serves it. Keeps no
// capability, or the eight of the jail's root. Returns the step that failed, with errno; none: done.
agent::Step become_file_user(const JailState& jail, std::uint32_t uid, std::uint32_t gid);

}  // namespace sandboxd::init
