#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "sandboxd/core/result.hpp"

namespace CLI {
class App;
}

namespace sandboxd::ctl {

// The options that run and create share: what a sandbox is made of.
struct SandboxOptions {
    std::string template_name;
    std::string memory;
    std::string cpus;
    std::string disk;
    std::string pids;
    std::string network;
    std::string profile;
    std::vector<std::string> env;
};

void add_sandbox_options(CLI::App& verb, SandboxOptions& options);
// The request's members for what was asked; the daemon has the defaults and the ceilings.
[[nodiscard]] Result<void> apply(const SandboxOptions& options, nlohmann::json& body);
// NAME=VALUE, or NAME for its value here.
[[nodiscard]] Result<nlohmann::json> parse_env(const std::vector<std::string>& env);

}  // namespace sandboxd::ctl
