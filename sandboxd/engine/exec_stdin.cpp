#include "sandboxd/engine/exec_stdin.hpp"

#include <algorithm>
#include <cerrno>
#include <span>

#include "sandboxd/core/sys_io.hpp"

namespace sandboxd::engine {

namespace {

constexpr std::size_t kPiece = 64 * 1024;

}  // namespace

void ExecStdin::open(Fd fd, Kind kind) {
    fd_ = std::make_shared<const Fd>(std::move(fd));
    kind_ = kind;
}

void ExecStdin::close() {
    fd_ = nullptr;
    free_.notify();
}

asio::awaitable<Result<std::size_t>> ExecStdin::write_some(std::shared_ptr<const Fd> fd, std::shared_ptr<const std::string> data,
                                                          std::size_t from) {
    const std::span<const std::byte> piece = std::as_bytes(std::span{*data}.subspan(from, std::min(kPiece, data->size() - from)));
    if (kind_ == Kind::pipe) co_return sys::write_now(fd->get(), piece);
    const auto written = std::make_shared<Result<std::size_t>>(std::size_t{0});
    std::function<void()> work = [fd, data, piece, written] {
        (void)sys::set_nonblocking(fd->get());  // its jail has the same open file and could have cleared it
        *written = sys::write_some(fd->get(), piece);
    };
    co_await pools_.terminal.run(std::move(work));
    co_return *written;
}

asio::awaitable<Result<void>> ExecStdin::write(std::string data, Deadline deadline) {
    while (writing_) SBX_CO_CHECK(co_await free_.wait(deadline));
    const auto fd = fd_;
    if (!fd) co_return Error{Errc::unavailable, "stdin", "it is closed"};
    struct Turn {
        ExecStdin& input;
        explicit Turn(ExecStdin& i) : input{i} { input.writing_ = true; }
        ~Turn() {
            input.writing_ = false;
            input.free_.notify();
        }
    } turn{*this};
    const auto bytes = std::make_shared<const std::string>(std::move(data));
    std::size_t done = 0;
    while (done < bytes->size()) {
        auto written = co_await write_some(fd, bytes, done);
        if (written) {
            done += *written;
            continue;
        }
        if (written.error().is_errno(EPIPE) || written.error().is_errno(EIO)) {
            fd_ = nullptr;
            co_return Error{Errc::unavailable, "stdin", "the program has closed it"};
        }
        if (!written.error().is_errno(EAGAIN)) co_return std::move(written).error();
        SBX_CO_CHECK(co_await wait_fd(fd->get(), Ready::write, deadline));
    }
    co_return Result<void>{};
}

}  // namespace sandboxd::engine
