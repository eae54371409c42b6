#pragma once

#include "sandboxd/ctl/api_client.hpp"

namespace sandboxd::ctl {

// What becomes of the events of a run or an exec.
enum class Show {
    output,
    events
};  // the program's own output (asked for in base64), or the events as they are, line by line
enum class Cost { hide, show };

// Sends a request whose answer is a stream of NDJSON events and shows it as it comes. The program's
// exit code.
[[nodiscard]] Result<int> play_events(ApiClient& api, Request request, Show show, Cost cost);
// Why it ended, where its output does not say it, and what it cost: notes on standard error.
void report_end(const nlohmann::json& answer, Cost cost);

}  // namespace sandboxd::ctl
