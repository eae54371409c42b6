#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "isolation/id_map.hpp"
#include "sandboxd/attest/findings.hpp"

namespace sandboxd::attest {

// What the kernel says, to root of the host, of one process that is said to be in a jail with these ids. `secret_path`
// must not appear in its mount table. Reads only what the kernel writes; says nothing of Wall::nested_userns_limit.
[[nodiscard]] std::vector<WallFinding> inspect(pid_t pid, isolation::IdMap ids, const std::string& secret_path);

}  // namespace sandboxd::attest
