#pragma once

#include <string>
#include <string_view>

namespace sandboxd::attest {

[[nodiscard]] std::string sha256_hex(std::string_view bytes);

}  // namespace sandboxd::attest
