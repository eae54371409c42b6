#pragma once

namespace sandboxd::ctl {

// The whole program but for what main() catches: parses, does the verb's work, says what failed.
// The exit code.
[[nodiscard]] int run_command_line(int argc, char** argv);

}  // namespace sandboxd::ctl
