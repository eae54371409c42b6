#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <optional>

#include "api/exchange.hpp"
#include "api/exec_answer.hpp"
#include "api/exec_request.hpp"
#include "api/stream_events.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/sandbox.hpp"

namespace sandboxd::api {

// A program that was started for the client of an exchange, and how to answer.
struct StartedExec {
    engine::SandboxPtr sandbox;
    engine::ExecPtr exec;
    ExecOrder order;
    std::uint64_t max_exec_ms = 0;      // the tenant's ceiling for one program
    std::optional<StreamFormat> format; // nothing: one JSON object at the end
    Rest rest = Rest::kept;  // gone: the sandbox was made for this program alone: its figures are the answer's usage
};

// Starts the order's program. Its files, environment and arguments go to the sandbox: the order keeps none of them.
[[nodiscard]] asio::awaitable<Result<engine::ExecPtr>> start_exec(engine::Sandbox& sandbox, ExecOrder& order);

// Answers with the program's output and end: as one JSON object, or live when `format` says so. Feeds its stdin. A
// client that leaves before the end has no use for the program: it is killed, and the Error is canceled.
[[nodiscard]] asio::awaitable<Result<void>> serve_exec(Exchange& exchange, StartedExec started);

// When to give up waiting for a program that should have ended by its own limit (0: the ceiling).
[[nodiscard]] Deadline wait_deadline(std::uint64_t timeout_ms, std::uint64_t max_exec_ms);
[[nodiscard]] ExecFrame frame_of(const StartedExec& started);

}  // namespace sandboxd::api
