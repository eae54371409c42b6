#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "sandboxd/core/result.hpp"

namespace sandboxd::policies {

// Which system calls the programs of a sandbox may make: a file of policies/seccomp. Ordered: each allows everything that
// the one before it does, so that a tenant's ceiling is one of them.
enum class Profile : std::uint8_t { strict = 0, standard = 1, debug = 2 };

inline constexpr std::size_t kProfiles = 3;

// "strict", "default", "debug"
[[nodiscard]] std::string_view to_string(Profile profile) noexcept;
[[nodiscard]] std::optional<Profile> parse_profile(std::string_view name) noexcept;

// limit_exceeded with the facts limit ("profile"), asked and allowed above the tenant's ceiling.
[[nodiscard]] Result<void> check_profile(Profile asked, Profile ceiling);

}  // namespace sandboxd::policies
