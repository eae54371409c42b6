#pragma once

#include <string>
#include <string_view>

#include "sandboxd/core/result.hpp"

namespace sandboxd::ctl {

// The standard alphabet with padding.
[[nodiscard]] std::string to_base64(std::string_view bytes);
[[nodiscard]] Result<std::string> from_base64(std::string_view text);

}  // namespace sandboxd::ctl
