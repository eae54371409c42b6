#include "sandboxd/ctl/stdin_pump.hpp"

#include <sys/epoll.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <optional>
#include <span>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::ctl {

namespace asio = boost::asio;

namespace {

constexpr std::size_t kPiece = 64 * 1024;

// An epoll descriptor that is readable when `fd` is: Asio would make `fd` itself non-blocking.
// Invalid where epoll refuses the file, because reading it never waits (a regular file, /dev/null).
Fd watcher_of(int fd) {
    Fd watcher{::epoll_create1(EPOLL_CLOEXEC)};
    epoll_event event{};
    event.events = EPOLLIN;
    if (watcher.valid() && ::epoll_ctl(watcher.get(), EPOLL_CTL_ADD, fd, &event) == 0)
        return watcher;
    return Fd{};
}

}  // namespace

struct InputPump::Impl {
    Impl(asio::io_context& where, int from) : context{where}, fd{from} {
        Fd watched = watcher_of(from);
        if (watched.valid()) watcher.emplace(where, std::move(watched).release());
    }

    std::string read() const {
        std::string piece(kPiece, '\0');
        // A terminal that has hung up is an end like any other.
        const auto got =
            sys::read_some(fd, std::as_writable_bytes(std::span{piece.data(), piece.size()}));
        piece.resize(got ? *got : 0);
        return piece;
    }

    asio::io_context& context;
    int fd;
    std::optional<asio::posix::stream_descriptor> watcher;
    bool dropped = false;
};

InputPump::InputPump(asio::io_context& context, int fd)
    : impl_{std::make_shared<Impl>(context, fd)} {}

InputPump::~InputPump() {
    impl_->dropped = true;
    if (impl_->watcher) impl_->watcher->close();
}

void InputPump::next(std::function<void(std::string)> done) {
    auto read = [impl = impl_, done = std::move(done)](const boost::system::error_code& ec = {}) {
        if (!impl->dropped) done(ec ? std::string{} : impl->read());
    };
    if (!impl_->watcher) return asio::post(impl_->context, std::move(read));
    impl_->watcher->async_wait(asio::posix::stream_descriptor::wait_read, std::move(read));
}

}  // namespace sandboxd::ctl
