#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "policies/limits.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/core/log.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd {

struct TenantConfig {
    TenantId id;
    policies::TenantLimits limits;
    std::vector<std::string> key_hashes;  // SHA-256 of a key, 64 hex digits
    bool admin = false;                   // those keys may use the admin API
};

enum class OnStop {
    keep,     // sandboxes go on; the next start adopts them (upgrades kill nothing)
    destroy,  // sandboxes end with the daemon; nothing is left on the host (the default of --dev)
};

// The daemon's whole configuration, parsed once. Unknown keys are refused. TOML, see docs/configuration.md.
struct Config {
    bool dev = false;
    std::string listen = "127.0.0.1:8090";     // ADDR:PORT, [v6]:PORT
    std::string state_dir = "/var/lib/sandboxd";
    std::string socket;                        // Unix socket; empty: <state_dir>/sandboxd.sock. Peer uid 0 is admin.
    std::string socket_group;                  // group that may connect
    std::string tls_certificate;               // PEM files; both or none
    std::string tls_key;
    std::string api_user;                      // empty: "sandboxd" if it exists, else a fixed uid of this instance
    std::string price_book;                    // file; empty: the shipped default
    std::string seccomp_profile;               // file; empty: the shipped default
    std::string cgroup_parent;                 // see isolation::CgroupConfig
    std::vector<std::string> unsafe_missing_controllers;
    std::vector<std::string> unsafe_accept_broken_walls;  // names of isolation/tested_walls.hpp
    std::string pool_device;
    std::uint64_t pool_bytes = 0;
    bool pool_tmpfs = true;                    // allow the tmpfs fallback
    std::uint32_t sandboxes_max = 2000;
    std::uint64_t memory_reserve_bytes = 512ULL << 20;  // of the host, never given to sandboxes
    OnStop on_stop = OnStop::keep;
    std::uint32_t drain_timeout_s = 30;
    std::uint64_t request_bytes_max = 32ULL << 20;      // JSON bodies; uploads of files are streamed and have no cap
    std::uint32_t connections_max = 4096;
    log::Level log_level = log::Level::info;
    NodeIdentity node;
    std::vector<TenantConfig> tenants;
};

// invalid_argument naming the line, the key and what is allowed.
[[nodiscard]] Result<Config> parse_config(std::string_view toml, std::string_view file_name);
[[nodiscard]] Config dev_config();
// Both programs get the same Config: the monitor parses and hands this text over.
[[nodiscard]] std::string to_toml(const Config& config);

}  // namespace sandboxd
