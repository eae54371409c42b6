#pragma once

#include <cstdint>
#include <memory>

#include "sandboxd/core/result.hpp"

namespace sandboxd::ctl {

struct WindowSize {
    std::uint16_t rows = 24;
    std::uint16_t cols = 80;
    bool operator==(const WindowSize&) const = default;
};
// Of the terminal at `fd`; the default where it says nothing.
[[nodiscard]] WindowSize window_size(int fd) noexcept;

// A terminal in raw mode: keys go to the program as they are, Ctrl-C too. The destructor puts back
// what was before; so do a crash of this program and the std::exit of it. One at a time in a
// process. Move-only by its pointer.
class RawTerminal {
public:
    [[nodiscard]] static Result<std::unique_ptr<RawTerminal>> enter(int fd);
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;
    ~RawTerminal();

private:
    RawTerminal() = default;
};

}  // namespace sandboxd::ctl
