#pragma once

#include <string_view>

#include "sandboxd/core/result.hpp"
#include "sandboxd/ctl/table.hpp"

namespace sandboxd::ctl {

[[nodiscard]] bool is_terminal(int fd) noexcept;
// Colours on a terminal, unless NO_COLOR is set or TERM says that it has none.
[[nodiscard]] Palette palette_of(int fd);

// All of it; waits where the descriptor would not. The error of a reader that has gone is EPIPE.
[[nodiscard]] Result<void> write_out(int fd, std::string_view bytes);
// To standard output. A reader that has gone ends the program as SIGPIPE would.
void print(std::string_view text);
// One line on standard error, "sandboxctl: …".
void note(std::string_view text);

}  // namespace sandboxd::ctl
