#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "api/stream_encoding.hpp"
#include "api/stream_events.hpp"
#include "policies/limits.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/engine/exec.hpp"
#include "sandboxd/ledger/usage.hpp"

namespace sandboxd::api {

// What an answer inlines of each output stream.
inline constexpr std::size_t kInlineBytes = std::size_t{8} << 20;

// What the answers about an exec say besides the exec itself.
struct ExecFrame {
    SandboxId sandbox;
    policies::Limits limits;                    // of the sandbox: named when the program hit them
    std::optional<std::uint64_t> timeout_ms;    // where it is known
    std::optional<ledger::Usage> usage;         // instead of the exec's own
};

// The output of one stream, as far as an answer inlines it.
struct InlineOutput {
    std::string bytes;
    bool cut = false;  // more is there than kInlineBytes
};

// Everything but the output itself: an exit event without its "type".
[[nodiscard]] nlohmann::json exec_facts(engine::Exec& exec, const ExecFrame& frame);
// Adds stdout (the terminal's output with pty) and stderr. `kept`: the sandbox lives on, so that the answer can say
// where the rest of a cut output is.
enum class Rest { kept, gone };
void add_output(nlohmann::json& answer, engine::Exec& exec, const ExecFrame& frame, InlineOutput out, InlineOutput err,
                Encoding encoding, Rest rest);
// command, cwd, user, pty and times: for lists and single execs.
void add_description(nlohmann::json& answer, const engine::Exec& exec);

// "/v1/sandboxes/…/exec/…".
[[nodiscard]] std::string exec_path(const SandboxId& sandbox, const ExecId& exec);
// {"type": "error", "error": as a refusal has it}.
[[nodiscard]] nlohmann::json error_event(const Error& error);

}  // namespace sandboxd::api
