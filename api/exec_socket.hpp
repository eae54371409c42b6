#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "api/exchange.hpp"
#include "api/exec_request.hpp"
#include "api/exec_stdin.hpp"
#include "api/stream_events.hpp"
#include "api/stream_exec.hpp"
#include "policies/limits.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/sandbox.hpp"

namespace sandboxd::api {

// One client at one exec over a WebSocket, from its first message to the close. Nothing here is cancelled in the
// middle of a frame: everything ends by the follower's end, and the reader by the close of the connection.
class ExecSocket {
public:
    // All must outlive it.
    ExecSocket(asio::any_io_executor executor, WebSocket& socket, engine::SandboxPtr sandbox, policies::TenantLimits ceiling,
               std::string request_id);

    // Completes when the connection is closed.
    [[nodiscard]] asio::awaitable<void> run();

private:
    struct Opening {  // what the first message asked for
        engine::ExecPtr exec;
        ExecOrder order;
        bool attached = false;
        std::uint64_t out_offset = 0;
        std::uint64_t err_offset = 0;
    };
    struct Session;

    [[nodiscard]] asio::awaitable<Result<Opening>> open();
    [[nodiscard]] asio::awaitable<Result<Opening>> start(ExecOrder order);
    [[nodiscard]] Result<Opening> attach(const nlohmann::json& body);
    [[nodiscard]] asio::awaitable<Result<void>> send_started(Session& session);
    [[nodiscard]] asio::awaitable<Result<void>> write_side(Session& session);
    [[nodiscard]] asio::awaitable<Result<void>> read_side(Session& session);
    [[nodiscard]] asio::awaitable<Result<void>> handle(Session& session, WebSocket::Message message);
    [[nodiscard]] asio::awaitable<Result<void>> handle_control(Session& session, const std::string& type, const nlohmann::json& body);
    [[nodiscard]] Result<void> acknowledge(Session& session, const nlohmann::json& body);
    [[nodiscard]] asio::awaitable<void> refuse(const Error& error);

    asio::any_io_executor executor_;
    WebSocket& socket_;
    engine::SandboxPtr sandbox_;
    policies::TenantLimits ceiling_;
    std::string request_id_;  // what the log says about our faults
};

// The close code that says to a client whose fault an error was: 1008 its own, 1011 ours.
[[nodiscard]] std::uint16_t close_code(const Error& error) noexcept;

}  // namespace sandboxd::api
