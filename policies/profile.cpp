#include "policies/profile.hpp"

#include <array>
#include <string>

namespace sandboxd::policies {

namespace {
constexpr std::array<std::string_view, kProfiles> kNames{"strict", "default", "debug"};
}  // namespace

std::string_view to_string(Profile profile) noexcept {
    return kNames[static_cast<std::size_t>(profile)];
}

std::optional<Profile> parse_profile(std::string_view name) noexcept {
    for (std::size_t i = 0; i < kNames.size(); ++i) {
        if (kNames[i] == name) return static_cast<Profile>(i);
    }
    return std::nullopt;
}

Result<void> check_profile(Profile asked, Profile ceiling) {
    if (asked <= ceiling) return {};
    const std::string wanted{to_string(asked)};
    const std::string allowed{to_string(ceiling)};
    return Error{Errc::limit_exceeded, "limits", "profile: asked for " + wanted + ", this tenant may have at most " + allowed}
        .fact("limit", std::string{"profile"})
        .fact("asked", wanted)
        .fact("allowed", allowed);
}

}  // namespace sandboxd::policies
