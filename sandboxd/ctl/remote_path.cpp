#include "sandboxd/ctl/remote_path.hpp"

namespace sandboxd::ctl {

std::optional<RemotePath> parse_remote(std::string_view text) {
    constexpr std::string_view kIdCharacters = "abcdefghijklmnopqrstuvwxyz0123456789";
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos || colon < 8 || colon > 40) return std::nullopt;
    if (text.substr(0, colon).find_first_not_of(kIdCharacters) != std::string_view::npos)
        return std::nullopt;
    const std::string_view path = text.substr(colon + 1);
    return RemotePath{std::string{text.substr(0, colon)}, path.empty() ? "." : std::string{path}};
}

std::string base_name(std::string_view path) {
    while (path.ends_with('/')) path.remove_suffix(1);
    return std::string{path.substr(path.rfind('/') + 1)};
}

}  // namespace sandboxd::ctl
