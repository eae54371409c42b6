#include "sandboxd/ctl/console.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <span>
#include <string>

#include "sandboxd/core/sys_io.hpp"

namespace sandboxd::ctl {

bool is_terminal(int fd) noexcept {
    return ::isatty(fd) == 1;
}

Palette palette_of(int fd) {
    const char* no_colour = std::getenv("NO_COLOR");
    const char* kind = std::getenv("TERM");
    const bool plain =
        (no_colour && *no_colour) || (kind && std::string_view{kind} == "dumb") || !is_terminal(fd);
    return plain ? Palette::plain : Palette::coloured;
}

Result<void> write_out(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const auto wrote =
            sys::write_some(fd, std::as_bytes(std::span{bytes.data(), bytes.size()}));
        if (wrote) {
            bytes.remove_prefix(*wrote);
            continue;
        }
        if (!wrote.error().is_errno(EAGAIN)) return wrote.error();
        // Another process that shares the descriptor has made it non-blocking.
        pollfd ready{fd, POLLOUT, 0};
        (void)::poll(&ready, 1, -1);
    }
    return Result<void>{};
}

void print(std::string_view text) {
    const auto written = write_out(STDOUT_FILENO, text);
    if (written) return;
    if (written.error().is_errno(EPIPE)) {
        std::signal(SIGPIPE, SIG_DFL);
        (void)::raise(SIGPIPE);
    }
    note(written.error().message());
    std::exit(1);
}

void note(std::string_view text) {
    (void)write_out(STDERR_FILENO,
                    "sandboxctl: " + printable(text) + '\n');  // nowhere else to say it
}

}  // namespace sandboxd::ctl
