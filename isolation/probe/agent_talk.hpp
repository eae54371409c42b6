#pragma once

#include <cstddef>

#include "sandboxd/agent/protocol.hpp"

// The conductor's side of the agent protocol, without waiting for two things at a time. Every byte from the socket is
// taken as hostile: sizes, kinds and numbers are checked, and a message that does not fit ends the conversation.
namespace sandboxd::probe {

struct Started {
    int out = -1;    // what the program writes
    int stdin_ = -1;  // -1 without kStdin
};

class AgentTalk {
public:
    explicit AgentTalk(int socket) : socket_{socket} {}

    // The step that failed, with errno; null: done.
    const char* greet();
    const char* start(const agent::Exec& exec, int files, Started& started);
    // Waits for the exec's end. `status` as in ExecState.
    const char* ended(std::uint64_t exec, agent::ExitKind& kind, int& status);
    const char* forget(std::uint64_t exec);

private:
    template <class Body>
    bool send(agent::Type type, const Body& body, int fd = -1);
    // The next message; its body stays in the buffer. Descriptors that nobody takes are closed.
    bool receive(agent::Header& header, wire::Reader& body);
    // The reply to the last request; exits that come meanwhile are kept.
    bool reply(agent::Header& header, wire::Reader& body);
    void note_exit(wire::Reader& body);
    void close_fds();

    int socket_;
    std::uint32_t request_ = 0;
    int fds_[agent::kMaxFds];
    std::size_t fd_count_ = 0;
    agent::ExecState exit_{};  // of the last exec that ended
};

}  // namespace sandboxd::probe
