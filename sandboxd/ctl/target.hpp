#pragma once

#include <optional>
#include <string>

#include "sandboxd/core/result.hpp"
#include "sandboxd/ctl/address.hpp"

namespace sandboxd::ctl {

inline constexpr std::string_view kDefaultUrl = "http://127.0.0.1:8090";
inline constexpr std::string_view kDefaultStateDir = "/var/lib/sandboxd";

// What says which daemon is meant, before the defaults are applied.
struct Wanted {
    // From the command line.
    std::optional<std::string> url;
    std::optional<std::string> key;
    std::optional<std::string> state_dir;
    std::optional<std::string> ca_file;
    // From the environment: SANDBOXD_URL, SANDBOXD_API_KEY, SANDBOXD_CA_FILE.
    std::optional<std::string> env_url;
    std::optional<std::string> env_key;
    std::optional<std::string> env_ca_file;
};

// A daemon and what it knows us by.
struct Target {
    Address address;
    std::string key;       // empty: none is sent
    std::string key_note;  // without a key: where one was looked for
    std::string ca_file;   // PEM; empty: the system's authorities
};

// The command line wins over the environment, the environment over the defaults. The default key is
// the file dev.key of the state directory; it is sent to addresses of this machine only, unless the
// state directory was asked for. Where there is neither an address nor a key, a daemon's Unix
// socket in the state directory is used: root needs no key there.
[[nodiscard]] Result<Target> resolve_target(const Wanted& wanted);

}  // namespace sandboxd::ctl
