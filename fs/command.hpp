#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "sandboxd/core/result.hpp"

namespace sandboxd::fs {

// The absolute path of the executable `name` in the first folder of `search` ("/usr/sbin:/sbin")
// that holds it. not_found otherwise. Relative folders are skipped.
[[nodiscard]] Result<std::string> find_program(const std::string& name, const std::string& search);

// Runs a program of the host to its end: no shell, empty environment but PATH and LC_ALL, stdin
// from /dev/null, and the signal mask and handlers of a fresh process. Blocks. On a non-zero exit
// the Error (internal) carries the last 2 KiB of what the program printed; past `limit` it is
// killed and the error is timeout.
[[nodiscard]] Result<void> run_command(const std::string& program,
                                       const std::vector<std::string>& arguments,
                                       std::chrono::milliseconds limit);

}  // namespace sandboxd::fs
