#pragma once

#include <cstdint>

namespace sandboxd::probe {

// For the conductor, which reads what comes out of a jail: the given ids, no capability, no way to one, and only the
// system calls that it makes; none of them opens a file. False with errno.
[[nodiscard]] bool confine(std::uint32_t uid, std::uint32_t gid);

}  // namespace sandboxd::probe
