#pragma once

#include <string>

#include "sandboxd/core/result.hpp"

namespace sandboxd::ctl {

// All of a file, or of standard input for "-". What is larger than `most` bytes is refused.
[[nodiscard]] Result<std::string> read_input(const std::string& path, std::size_t most);

}  // namespace sandboxd::ctl
