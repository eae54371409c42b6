#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>

#include "api/exchange.hpp"
#include "api/exec_answer.hpp"
#include "api/exec_request.hpp"
#include "api/stream_events.hpp"
#include "policies/limits.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/sandbox.hpp"

namespace sandboxd::api {

// A program that was started for the client of an exchange, and how to answer.
struct StartedExec {
    engine::SandboxPtr sandbox;
    engine::ExecPtr exec;
    ExecOrder order;
    Rest rest = Rest::kept;  // gone: the sandbox was made for this program alone: its figures are the answer's usage
};

// Answers with the program's output and end: as one JSON object, or live when `format` says so. Feeds its stdin. A
// client that leaves before the end has no use for the program: it is killed, and the Error is canceled.
[[nodiscard]] asio::awaitable<Result<void>> serve_exec(Exchange& exchange, StartedExec started, std::optional<StreamFormat> format);

// The caller's ceilings.
[[nodiscard]] policies::TenantLimits ceiling_of(Exchange& exchange);
// When to give up waiting for a program that should have ended by its own limit (0: the ceiling).
[[nodiscard]] Deadline wait_deadline(std::uint64_t timeout_ms, const policies::TenantLimits& ceiling);
[[nodiscard]] ExecFrame frame_of(const StartedExec& started);

}  // namespace sandboxd::api
