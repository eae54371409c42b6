#include "sandboxd/engine/spill_source.hpp"

#include <fcntl.h>

#include <cerrno>

#include "sandboxd/core/sys_io.hpp"

namespace sandboxd::engine {

namespace {

// A terminal gives at most its line discipline's 4 KiB at a time; the kernel allocates pages for what is asked.
constexpr std::size_t kTerminalRead = 8192;
// What a terminal can hold besides: its flip buffers are limited to 64 KiB, the relay to a pipe's size.
constexpr std::uint64_t kTerminalHolds = 512 * 1024;

}  // namespace

SpillSource SpillSource::pipe(Fd read_end) {
    SpillSource source;
    source.pipe_ = std::move(read_end);
    return source;
}

SpillSource SpillSource::terminal(Fd master, Fd relay_read, Fd relay_write) {
    SpillSource source;
    source.pipe_ = std::move(relay_read);
    source.master_ = std::move(master);
    source.relay_write_ = std::move(relay_write);
    return source;
}

std::uint64_t SpillSource::pending() const {
    if (is_terminal()) return kTerminalHolds;
    const auto bytes = sys::bytes_readable(pipe_.get());
    return bytes ? *bytes : 0;
}

bool SpillSource::fill_relay(Moved& moved) const {
    // Set again each time: it is the open file's flag, and the jail has the same open file.
    (void)sys::set_nonblocking(master_.get());
    const auto got = sys::splice(master_.get(), relay_write_.get(), kTerminalRead);
    if (got && *got > 0) return true;
    if (!got && got.error().is_errno(EAGAIN)) {
        moved.empty = true;
    } else {
        moved.end = true;  // EIO: every program that had the terminal has closed it (pty(7))
    }
    return false;
}

template <class Take>
SpillSource::Moved SpillSource::move(std::uint64_t most, Take take) const {
    Moved moved;
    while (moved.bytes < most) {
        const auto got = take(moved.bytes, static_cast<std::size_t>(most - moved.bytes));
        if (!got && !got.error().is_errno(EAGAIN)) {
            moved.error = got.error();
            return moved;
        }
        if (got && *got > 0) {
            moved.bytes += *got;
            continue;
        }
        if (is_terminal()) {
            // The relay is empty. Its own end never comes, since its write end is ours.
            if (!fill_relay(moved)) return moved;
            continue;
        }
        moved.end = got.has_value();
        moved.empty = !moved.end;
        return moved;
    }
    return moved;
}

SpillSource::Moved SpillSource::move_to_file(int file, std::uint64_t offset, std::uint64_t most) const {
    return move(most, [&](std::uint64_t done, std::size_t left) { return sys::splice_at(pipe_.get(), file, offset + done, left); });
}

SpillSource::Moved SpillSource::move_to_nowhere(std::uint64_t most) const {
    auto null = sys::open("/dev/null", O_WRONLY);
    if (!null) return Moved{.error = std::move(null).error()};
    return move(most, [&](std::uint64_t, std::size_t left) { return sys::splice(pipe_.get(), null->get(), left); });
}

}  // namespace sandboxd::engine
