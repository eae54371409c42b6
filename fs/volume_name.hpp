#pragma once

#include <algorithm>
#include <string_view>

#include "sandboxd/core/result.hpp"

namespace sandboxd::fs {

// [a-z0-9]{1,40}: a name that is one path component and no special one. invalid_argument otherwise.
[[nodiscard]] inline Result<void> check_volume_name(std::string_view name) {
    constexpr std::size_t kMaxLength = 40;
    const bool valid = !name.empty() && name.size() <= kMaxLength &&
                       std::all_of(name.begin(), name.end(), [](char c) {
                           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
                       });
    if (valid) return {};
    return Error{Errc::invalid_argument, "volume name",
                 "\"" + std::string{name.substr(0, kMaxLength)} + "\" is not [a-z0-9]{1,40}"};
}

}  // namespace sandboxd::fs
