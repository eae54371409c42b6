#include "isolation/init/sudo_terminal.hpp"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <initializer_list>

namespace sandboxd::init {

bool SudoTerminal::open(int (&stdio)[3]) {
    for (int i = 2; i >= 0; --i) {
        if (::isatty(stdio[i]) == 1) first_ = i;
    }
    if (first_ < 0) return false;
    for (const int i : {1, 2, 0}) {
        if (outer_ < 0 && ::isatty(stdio[i]) == 1) outer_ = stdio[i];
    }
    master_ = ::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    int unlock = 0;
    if (master_ < 0 || ::ioctl(master_, TIOCSPTLCK, &unlock) != 0) return false;
    slave_ = ::ioctl(master_, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave_ < 0 || ::tcgetattr(outer_, &saved_) != 0) {
        ::close(master_);
        master_ = -1;
        return false;
    }
    (void)::tcsetattr(slave_, TCSANOW, &saved_);
    resize();
    reads_ = ::isatty(stdio[0]) == 1 && ::tcgetpgrp(stdio[0]) == ::getpgrp();
    for (int& fd : stdio) {
        if (::isatty(fd) == 1) fd = slave_;
    }
    return true;
}

void SudoTerminal::begin() {
    ::close(slave_);
    slave_ = -1;
    if (!reads_) return;
    termios raw = saved_;
    ::cfmakeraw(&raw);
    raw_ = ::tcsetattr(0, TCSADRAIN, &raw) == 0;
}

void SudoTerminal::resize() {
    winsize size{};
    if (::ioctl(outer_, TIOCGWINSZ, &size) == 0) (void)::ioctl(master_, TIOCSWINSZ, &size);
}

void SudoTerminal::from_caller() {
    const ssize_t n = ::read(0, buffer_, sizeof buffer_);
    if (n <= 0) {
        reads_ = n < 0 && (errno == EINTR || errno == EAGAIN);
        return;
    }
    pending_ = static_cast<std::size_t>(n);
    written_ = 0;
    flush();
}

void SudoTerminal::flush() {
    while (pending_ > 0) {
        const ssize_t n = ::write(master_, buffer_ + written_, pending_);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            pending_ = 0;
            return;
        }
        written_ += static_cast<std::size_t>(n);
        pending_ -= static_cast<std::size_t>(n);
    }
}

bool SudoTerminal::to_caller() {
    char bytes[4096];
    const ssize_t n = ::read(master_, bytes, sizeof bytes);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return false;
    if (n <= 0) {  // EIO: nobody has the other end any more
        ::close(master_);
        master_ = -1;
        return false;
    }
    for (ssize_t done = 0; done < n;) {
        const ssize_t w = ::write(outer_, bytes + done, static_cast<std::size_t>(n - done));
        if (w < 0 && errno != EINTR) return false;
        if (w > 0) done += w;
    }
    return true;
}

void SudoTerminal::end() {
    // A program left in the background may hold the other end open: then it is over when there is nothing to read.
    while (master_ >= 0 && to_caller()) {
    }
    restore();
}

void SudoTerminal::restore() {
    if (raw_) (void)::tcsetattr(0, TCSADRAIN, &saved_);
    raw_ = false;
}

}  // namespace sandboxd::init
