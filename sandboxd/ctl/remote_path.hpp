#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sandboxd::ctl {

struct RemotePath {
    std::string sandbox;
    std::string path;
    bool operator==(const RemotePath&) const = default;
};

// ID:PATH, where ID looks like a sandbox's; an empty PATH is the home directory. Nothing for a path
// here.
[[nodiscard]] std::optional<RemotePath> parse_remote(std::string_view text);
// The last part, without slashes at the end; "/" has none.
[[nodiscard]] std::string base_name(std::string_view path);

}  // namespace sandboxd::ctl
