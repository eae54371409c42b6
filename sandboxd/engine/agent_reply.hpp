#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sandboxd/agent/protocol.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::engine {

// One message from a jail, copied out of the receive buffer. Nothing in it has been believed yet.
struct AgentReply {
    agent::Type type{};
    std::string body;
    std::vector<Fd> fds;

    // The body, if the message is of this type with exactly so many descriptors; an `error` as the Error that it tells;
    // protocol_error for anything else. string_views in the body point into this reply.
    template <class Body>
    [[nodiscard]] Result<Body> expect(agent::Type expected, std::size_t fd_count, std::string_view operation) const {
        SBX_CHECK(check(expected, fd_count, operation));
        wire::Reader reader{reinterpret_cast<const std::byte*>(body.data()), body.size()};
        Body out;
        if (!agent::decode_body(reader, out)) return malformed(operation);
        return out;
    }
    [[nodiscard]] Result<void> check(agent::Type expected, std::size_t fd_count, std::string_view operation) const;
    [[nodiscard]] static Error malformed(std::string_view operation);
};

// What the init says that failed, as an error of ours; facts: "step". A number that is no errno is a protocol_error.
[[nodiscard]] Error failure_error(const agent::Failure& failure, std::string_view operation);
[[nodiscard]] std::string_view to_string(agent::Step step) noexcept;

// Descriptors from a jail, before they are used: the kind that was promised, or protocol_error.
[[nodiscard]] Result<void> check_pipe(const Fd& fd);
[[nodiscard]] Result<void> check_terminal(const Fd& fd);  // the master side of a pseudo-terminal
[[nodiscard]] Result<void> check_regular(const Fd& fd);
[[nodiscard]] Result<void> check_packet_socket(const Fd& fd);
[[nodiscard]] Result<void> check_tcp_socket(const Fd& fd);

}  // namespace sandboxd::engine
