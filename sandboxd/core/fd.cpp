#include "sandboxd/core/fd.hpp"

#include <unistd.h>

namespace sandboxd {

void Fd::reset() noexcept {
    // close(2) is not retried on EINTR: Linux has released the descriptor either way.
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
}

}  // namespace sandboxd
