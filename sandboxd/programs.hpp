#pragma once

#include <string>
#include <string_view>

#include "sandboxd/core/result.hpp"

namespace sandboxd {

// The path of another program of this product: beside the running one, else in /usr/libexec/sandboxd.
[[nodiscard]] Result<std::string> find_program(std::string_view name);

// Files of policies/ that are compiled in.
[[nodiscard]] std::string_view embedded_seccomp_profile() noexcept;  // "default"
[[nodiscard]] std::string_view embedded_seccomp_strict() noexcept;
[[nodiscard]] std::string_view embedded_seccomp_debug() noexcept;
[[nodiscard]] std::string_view embedded_price_book() noexcept;

}  // namespace sandboxd
