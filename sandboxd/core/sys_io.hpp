#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/core/sys.hpp"

// More of sys.hpp: bytes between pipes, files and sockets. None of these waits for a pipe or a socket, whatever the
// O_NONBLOCK of its open file says: a jail that made the descriptor shares that flag and could clear it.
namespace sandboxd::sys {

struct Pipe {
    Fd read;
    Fd write;
};
[[nodiscard]] Result<Pipe> pipe();  // CLOEXEC, non-blocking

// splice(2), one side a pipe: the bytes that were moved, 0 at the end of `from`. EAGAIN (errno) when nothing is there
// or nothing fits. A terminal as the other side does follow its O_NONBLOCK.
[[nodiscard]] Result<std::size_t> splice(int from, int to, std::size_t most);
// The same into a regular file at `offset`. A byte leaves the pipe only once it is in the file: with ENOSPC after some
// bytes the count is short.
[[nodiscard]] Result<std::size_t> splice_at(int pipe, int file, std::uint64_t offset, std::size_t most);

[[nodiscard]] Result<std::size_t> read_at(int fd, std::span<std::byte> buffer, std::uint64_t offset);
[[nodiscard]] Result<void> write_all_at(int fd, std::span<const std::byte> data, std::uint64_t offset);
[[nodiscard]] Result<std::size_t> write_some(int fd, std::span<const std::byte> data);
// Into a pipe, never waiting for room: EAGAIN (errno) instead. Before Linux 6.5 only as sure as O_NONBLOCK is.
[[nodiscard]] Result<std::size_t> write_now(int pipe, std::span<const std::byte> data);
// Gives back the disk blocks of a range; the size stays.
[[nodiscard]] Result<void> punch_hole(int fd, std::uint64_t offset, std::uint64_t size);
// Where data begins at or behind `offset`; nothing: only a hole is left.
[[nodiscard]] Result<std::optional<std::uint64_t>> next_data(int fd, std::uint64_t offset);
[[nodiscard]] Result<std::size_t> bytes_readable(int fd);  // FIONREAD

// One packet of a SOCK_SEQPACKET socket; descriptors that came along are closed. size 0: the peer has hung up.
[[nodiscard]] Result<std::size_t> receive_packet(int socket, std::span<std::byte> buffer);
[[nodiscard]] Result<void> send_packet(int socket, std::span<const std::byte> data);

struct SocketKind {
    int domain = 0;  // AF_*
    int type = 0;    // SOCK_*
};
[[nodiscard]] Result<SocketKind> socket_kind(int fd);
// procfs, sysfs, cgroupfs and their like, where a write is a command that is judged by the writer's rights.
[[nodiscard]] Result<bool> on_pseudo_file_system(int fd);

[[nodiscard]] std::chrono::nanoseconds boot_time() noexcept;  // CLOCK_BOOTTIME

}  // namespace sandboxd::sys
