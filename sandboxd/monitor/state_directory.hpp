#pragma once

#include <sys/types.h>

#include <string>

#include "sandboxd/config.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::monitor {

// Who sandboxd-api runs as.
struct ApiUser {
    uid_t uid = 0;
    gid_t gid = 0;
};
// config.api_user, else the system user `sandboxd`, else `fallback`: an id that nobody else on the machine has.
[[nodiscard]] Result<ApiUser> find_api_user(const Config& config, std::uint32_t fallback);

// The daemon's folder: root's, and only passable for others (0711), because sandboxd-api has its own part in it.
//   lock            held by the one daemon that uses the folder
//   attest.key      the key that attestations are signed with, root's alone
//   api/            the API's: state.db, spool/
//   agents/ sandboxes/ pool/ templates/   the monitor's (0700)
// conflict when another daemon uses it.
[[nodiscard]] Result<Fd> open_state_directory(const std::string& path);
// Made, or taken over with all that is in it from another user of the API.
[[nodiscard]] Result<void> make_api_directory(const std::string& state_dir, ApiUser user);

// --dev: the key of tenant `dev`, made on first start and kept in <state_dir>/dev.key (0600).
[[nodiscard]] Result<std::string> dev_key(const std::string& state_dir);

// Eight characters that name this daemon among those of the machine, from the state folder's path.
[[nodiscard]] std::string instance_name(const std::string& state_dir);

}  // namespace sandboxd::monitor
