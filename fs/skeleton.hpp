#pragma once

#include <string>

#include "fs/tree.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::fs {

// The root folder of the `host` template but for /usr, which is bound over it: usr-merge links as
// the host has them, the empty folders, /home/user, and an /etc without anything secret.
// `host_root` is "/" but in tests. incompatible where /bin and the like are not links into /usr.
[[nodiscard]] Result<Tree> host_skeleton(const std::string& host_root);

}  // namespace sandboxd::fs
