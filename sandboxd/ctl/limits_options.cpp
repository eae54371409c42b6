#include "sandboxd/ctl/limits_options.hpp"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "sandboxd/ctl/units.hpp"

namespace sandboxd::ctl {

using nlohmann::json;

void add_sandbox_options(CLI::App& verb, SandboxOptions& options) {
    verb.add_option("-t,--template", options.template_name,
                    "what the sandbox is made from (default: host)")
        ->type_name("NAME");
    verb.add_option("-m,--memory", options.memory, "memory, such as 512m or 2g (default: 512m)")
        ->type_name("SIZE");
    verb.add_option("--cpus", options.cpus, "cores, such as 0.5 or 2 (default: 1)")->type_name("N");
    verb.add_option("--disk", options.disk, "disk, such as 1g (default: 1g)")->type_name("SIZE");
    verb.add_option("--pids", options.pids, "processes and threads (default: 256)")->type_name("N");
    verb.add_option("--network", options.network, "what it can reach (default: none)")
        ->type_name("POLICY");
    verb.add_option("--profile", options.profile,
                    "system calls that programs may make: strict, default or debug")
        ->type_name("NAME");
    verb.add_option("-e,--env", options.env,
                    "an environment variable; NAME alone takes its value from here")
        ->type_name("NAME[=VALUE]")
        ->allow_extra_args(false);
}

Result<json> parse_env(const std::vector<std::string>& env) {
    json out = json::object();
    for (const std::string& entry : env) {
        if (entry.find('=') == std::string::npos) {
            const char* value = std::getenv(entry.c_str());
            if (!value)
                return Error{Errc::invalid_argument, "--env " + entry,
                             "is not set here: give NAME=VALUE"};
            out[entry] = value;
            continue;
        }
        SBX_TRY(const NameValue pair, parse_pair(entry, "--env"));
        out[pair.name] = pair.value;
    }
    return out;
}

Result<void> apply(const SandboxOptions& options, json& body) {
    json limits = json::object();
    if (!options.memory.empty()) {
        SBX_TRY(limits["memory_mb"], parse_mebibytes(options.memory));
    }
    if (!options.disk.empty()) {
        SBX_TRY(limits["disk_mb"], parse_mebibytes(options.disk));
    }
    const auto number = [&](const std::string& text, const char* name,
                            const char* option) -> Result<void> {
        if (text.empty()) return Result<void>{};
        double value = 0;
        const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value,
                                                 std::chars_format::fixed);
        if (code != std::errc{} || end != text.data() + text.size()) {
            return Error{Errc::invalid_argument, std::string{option} + ' ' + text,
                         "expected a number"};
        }
        const auto whole = static_cast<std::int64_t>(value);
        limits[name] = static_cast<double>(whole) == value ? json(whole) : json(value);
        return Result<void>{};
    };
    SBX_CHECK(number(options.cpus, "cpus", "--cpus"));
    SBX_CHECK(number(options.pids, "pids", "--pids"));
    if (!limits.empty()) body["limits"] = std::move(limits);
    if (!options.template_name.empty()) body["template"] = options.template_name;
    if (!options.network.empty()) body["network"] = options.network;
    if (!options.profile.empty()) body["profile"] = options.profile;
    if (!options.env.empty()) {
        SBX_TRY(body["env"], parse_env(options.env));
    }
    return Result<void>{};
}

}  // namespace sandboxd::ctl
