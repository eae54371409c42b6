#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/stream_encoding.hpp"
#include "policies/limits.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/exec.hpp"

namespace sandboxd::api {

// A request to run a program, as its JSON said it.
struct ExecOrder {
    engine::ExecRequest request;
    std::optional<std::string> input;  // of stdin; it is closed behind it, except over a WebSocket
    Encoding encoding = Encoding::text;
    bool detach = false;
    bool kill_on_disconnect = false;   // WebSocket
    bool acknowledged = false;         // WebSocket: only `ack` messages count as consumption
};

// From an object that satisfies kExecSchema or kStartSchema. invalid_argument names the field; limit_exceeded with the
// facts limit, asked and allowed above the tenant's ceilings or the sandbox's limits.
[[nodiscard]] Result<ExecOrder> parse_exec(const nlohmann::json& body, const policies::TenantLimits& ceiling,
                                           const policies::Limits& sandbox);

// Parts that runs have too.
[[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> parse_env(const nlohmann::json& body);
[[nodiscard]] Result<std::optional<std::string>> parse_input(const nlohmann::json& body);    // `stdin`
[[nodiscard]] Result<std::vector<engine::FileToWrite>> parse_files(const nlohmann::json& body);
[[nodiscard]] Result<std::uint64_t> parse_timeout(const nlohmann::json& body, std::uint64_t fallback,
                                                  const policies::TenantLimits& ceiling);
[[nodiscard]] Encoding parse_encoding(const nlohmann::json& body);
// Text, or {"base64": text}.
[[nodiscard]] Result<std::string> parse_content(std::string_view field, const nlohmann::json& value);

}  // namespace sandboxd::api
