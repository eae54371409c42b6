#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "policies/limits.hpp"
#include "sandboxd/agent/protocol.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/exec.hpp"
#include "sandboxd/ledger/records.hpp"

namespace sandboxd::engine {

// An exec as the agent is asked for it, with everything that was left open filled in. Owns what the message points to.
struct ExecLaunch {
    std::uint64_t number = 0;
    std::uint32_t flags = 0;
    User user;
    std::uint64_t timeout_ms = 0;
    std::uint16_t rows = 0;
    std::uint16_t cols = 0;
    std::string program;  // argv[0]
    std::string cwd;
    std::string argv;     // NUL-terminated strings one after another
    std::string env;
    std::string files;    // FileRecords back to back
    std::string command;  // for people
    std::uint64_t output_bytes = 0;
    OverLimit on_output_limit = OverLimit::truncate;

    [[nodiscard]] agent::Exec message() const;  // points into this
    [[nodiscard]] bool pty() const noexcept { return (flags & agent::kPty) != 0; }
    [[nodiscard]] bool with_files() const noexcept { return (flags & agent::kWithFiles) != 0; }
};

// Checks the request against the sandbox and the tenant's ceilings. invalid_argument, forbidden (root),
// limit_exceeded (with limit, asked, allowed), payload_too_large.
[[nodiscard]] Result<ExecLaunch> plan_exec(const ExecRequest& request, const ledger::SandboxRecord& sandbox,
                                           const policies::TenantLimits& ceiling, std::uint64_t number);
// The command for people: arguments that need it are quoted, at most 1 KiB.
[[nodiscard]] std::string describe_command(const std::vector<std::string>& argv);
// What the agent's refusal means to the caller.
[[nodiscard]] Error exec_failure(Error error, const std::string& program, const std::string& cwd);

}  // namespace sandboxd::engine
