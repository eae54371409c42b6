#include "sandboxd/ctl/terminal.hpp"

#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>

#include "sandboxd/core/assert.hpp"

namespace sandboxd::ctl {

namespace {

// For signal handlers and atexit, which take no argument.
volatile std::sig_atomic_t raw_fd = -1;
termios before;

constexpr std::array kCrashes{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

// Only async-signal-safe calls (POSIX lists tcsetattr, signal and raise).
void restore() {
    if (raw_fd >= 0) (void)::tcsetattr(raw_fd, TCSADRAIN, &before);
    raw_fd = -1;
}

extern "C" void restore_and_die(int signal) {
    restore();
    std::signal(signal, SIG_DFL);
    (void)::raise(signal);
}

}  // namespace

WindowSize window_size(int fd) noexcept {
    winsize size{};
    if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0) return {};
    return {size.ws_row, size.ws_col};
}

Result<std::unique_ptr<RawTerminal>> RawTerminal::enter(int fd) {
    SBX_ASSERT(raw_fd < 0);
    if (::tcgetattr(fd, &before) != 0)
        return Error{Errc::incompatible, "standard input", "is no terminal: leave -t out"};
    termios raw = before;
    ::cfmakeraw(&raw);
    static const bool registered = std::atexit(restore) == 0;
    SBX_ASSERT(registered);
    for (const int signal : kCrashes) std::signal(signal, restore_and_die);
    raw_fd = fd;
    if (::tcsetattr(fd, TCSADRAIN, &raw) != 0) {
        raw_fd = -1;
        return Error{Errc::incompatible, "standard input",
                     "the terminal can't be put into raw mode"};
    }
    return std::unique_ptr<RawTerminal>{new RawTerminal};
}

RawTerminal::~RawTerminal() {
    restore();
    for (const int signal : kCrashes) std::signal(signal, SIG_DFL);
}

}  // namespace sandboxd::ctl
