#include "sandboxd/core/sys_io.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace sandboxd::sys {

namespace {

template <class F>
auto retry(F f) {
    decltype(f()) rc;
    do {
        rc = f();
    } while (rc < 0 && errno == EINTR);
    return rc;
}

Result<std::size_t> count(ssize_t n, const char* operation, boost::source_location where = BOOST_CURRENT_LOCATION) {
    if (n < 0) return errno_error(operation, {}, where);
    return static_cast<std::size_t>(n);
}

}  // namespace

Result<Pipe> pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return errno_error("pipe");
    return Pipe{Fd{ends[0]}, Fd{ends[1]}};
}

Result<std::size_t> splice(int from, int to, std::size_t most) {
    return count(retry([&] { return ::splice(from, nullptr, to, nullptr, most, SPLICE_F_NONBLOCK | SPLICE_F_MOVE); }), "splice");
}

Result<std::size_t> splice_at(int pipe, int file, std::uint64_t offset, std::size_t most) {
    auto at = static_cast<loff_t>(offset);
    return count(retry([&] { return ::splice(pipe, nullptr, file, &at, most, SPLICE_F_NONBLOCK | SPLICE_F_MOVE); }), "splice");
}

Result<std::size_t> read_at(int fd, std::span<std::byte> buffer, std::uint64_t offset) {
    return count(retry([&] { return ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(offset)); }), "read");
}

Result<void> write_all_at(int fd, std::span<const std::byte> data, std::uint64_t offset) {
    while (!data.empty()) {
        SBX_TRY(const std::size_t n,
                count(retry([&] { return ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset)); }), "write"));
        data = data.subspan(n);
        offset += n;
    }
    return {};
}

Result<std::size_t> write_some(int fd, std::span<const std::byte> data) {
    return count(retry([&] { return ::write(fd, data.data(), data.size()); }), "write");
}

Result<std::size_t> write_now(int pipe, std::span<const std::byte> data) {
    iovec iov{const_cast<std::byte*>(data.data()), data.size()};
    const ssize_t n = retry([&] { return ::pwritev2(pipe, &iov, 1, -1, RWF_NOWAIT); });
    if (n >= 0 || errno != EOPNOTSUPP) return count(n, "write");
    SBX_CHECK(set_nonblocking(pipe));
    return write_some(pipe, data);
}

Result<void> punch_hole(int fd, std::uint64_t offset, std::uint64_t size) {
    const int rc = retry([&] {
        return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(size));
    });
    if (rc != 0) return errno_error("fallocate");
    return {};
}

Result<std::optional<std::uint64_t>> next_data(int fd, std::uint64_t offset) {
    const off_t at = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
    if (at >= 0) return std::optional{static_cast<std::uint64_t>(at)};
    if (errno == ENXIO) return std::optional<std::uint64_t>{};
    return errno_error("lseek");
}

Result<std::size_t> bytes_readable(int fd) {
    int n = 0;
    if (::ioctl(fd, FIONREAD, &n) != 0) return errno_error("FIONREAD");
    return static_cast<std::size_t>(n > 0 ? n : 0);
}

Result<std::size_t> receive_packet(int socket, std::span<std::byte> buffer) {
    iovec iov{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    // Without room for control data the kernel closes what comes along (MSG_CTRUNC).
    const ssize_t n = retry([&] { return ::recvmsg(socket, &message, MSG_DONTWAIT); });
    if (n < 0) return errno_error("recvmsg");
    if ((message.msg_flags & MSG_TRUNC) != 0) return Error{Errc::protocol_error, "recvmsg", "a packet is too long"};
    return static_cast<std::size_t>(n);
}

Result<void> send_packet(int socket, std::span<const std::byte> data) {
    const ssize_t n = retry([&] { return ::send(socket, data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL); });
    if (n < 0) return errno_error("send");
    return {};
}

Result<SocketKind> socket_kind(int fd) {
    SocketKind kind;
    socklen_t size = sizeof kind.domain;
    if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &kind.domain, &size) != 0) return errno_error("getsockopt");
    size = sizeof kind.type;
    if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind.type, &size) != 0) return errno_error("getsockopt");
    return kind;
}

Result<bool> on_pseudo_file_system(int fd) {
    struct statfs fs {};
    if (retry([&] { return ::fstatfs(fd, &fs); }) != 0) return errno_error("fstatfs");
    switch (static_cast<unsigned long>(fs.f_type)) {
        case PROC_SUPER_MAGIC: case SYSFS_MAGIC: case CGROUP_SUPER_MAGIC: case CGROUP2_SUPER_MAGIC: case DEBUGFS_MAGIC:
        case TRACEFS_MAGIC: case SECURITYFS_MAGIC: case BPF_FS_MAGIC: case DEVPTS_SUPER_MAGIC: return true;
        default: return false;
    }
}

std::chrono::nanoseconds boot_time() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec};
}

}  // namespace sandboxd::sys
