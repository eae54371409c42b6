#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>

#include "sandboxd/engine/files.hpp"

namespace sandboxd::api {

// For one operation in the jail, not for the transfer of a file's bytes.
inline constexpr auto kFileTimeout = std::chrono::seconds{30};

// path, name, type, size, mode, uid, gid, modified_at, and target of a symlink. Bytes of names that are not UTF-8
// become U+FFFD.
[[nodiscard]] nlohmann::json file_json(const engine::FileInfo& info);

}  // namespace sandboxd::api
