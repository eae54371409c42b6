#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"

// The only place of the daemon where errno is read. Each call returns a Result, retries EINTR and
// forces O_CLOEXEC. `what` names the object for the error message and defaults to the path.
namespace sandboxd::sys {

[[nodiscard]] Result<Fd> openat(int dir, const char* path, int flags, mode_t mode = 0);
[[nodiscard]] inline Result<Fd> open(const std::string& path, int flags, mode_t mode = 0) {
    return openat(-100 /* AT_FDCWD */, path.c_str(), flags, mode);
}
[[nodiscard]] Result<Fd> dup(int fd);
// Lets this process and its children have as many descriptors as the kernel allows at all (/proc/sys/fs/nr_open; root
// only: CAP_SYS_RESOURCE raises the hard limit, getrlimit(2)). Where that is refused: up to the hard limit.
[[nodiscard]] Result<void> raise_fd_limit();
[[nodiscard]] Result<void> mkdirat(int dir, const char* path, mode_t mode);
// mkdir that accepts an existing directory.
[[nodiscard]] Result<void> ensure_dir(const std::string& path, mode_t mode);
[[nodiscard]] Result<void> unlinkat(int dir, const char* path, int flags = 0);
[[nodiscard]] Result<void> rename(const std::string& from, const std::string& to);
[[nodiscard]] Result<void> chownat(int dir, const char* path, uid_t uid, gid_t gid);
[[nodiscard]] Result<void> chmod(const std::string& path, mode_t mode);
[[nodiscard]] Result<struct stat> fstat(int fd);
[[nodiscard]] Result<struct stat> statat(int dir, const char* path, int flags = 0);
[[nodiscard]] bool exists(const std::string& path) noexcept;

// Whole files. read_file refuses more than `limit` bytes (payload_too_large).
[[nodiscard]] Result<std::string> read_file_at(int dir, const char* path, std::size_t limit = 1 << 20);
[[nodiscard]] inline Result<std::string> read_file(const std::string& path, std::size_t limit = 1 << 20) {
    return read_file_at(-100, path.c_str(), limit);
}
// One write(2) to an existing file: for procfs, sysfs and cgroupfs, where a write is a command.
[[nodiscard]] Result<void> write_control(int dir, const char* path, std::string_view value);
[[nodiscard]] inline Result<void> write_control(const std::string& path, std::string_view value) {
    return write_control(-100, path.c_str(), value);
}
// Replaces a file so that a crash leaves the old or the new content: temporary, fsync, rename, fsync of the folder.
[[nodiscard]] Result<void> write_file_atomic(const std::string& path, std::string_view content, mode_t mode = 0600);
[[nodiscard]] Result<void> write_all(int fd, std::span<const std::byte> data);
[[nodiscard]] Result<std::size_t> read_some(int fd, std::span<std::byte> buffer);
[[nodiscard]] Result<void> set_nonblocking(int fd);

[[nodiscard]] Result<void> mount(const char* source, const char* target, const char* type, unsigned long flags,
                                 const char* data = nullptr);
[[nodiscard]] Result<void> umount(const char* target, int flags = 0);

// open_tree(2) clone of one mount (not recursive), and mount_setattr(2) on a detached one. Kernel 5.2 / 5.12.
[[nodiscard]] Result<Fd> clone_tree(int dir, const char* path);
// A detached tmpfs with these options (tmpfs(5)) and MOUNT_ATTR_*. Kernel 5.2.
[[nodiscard]] Result<Fd> new_tmpfs(std::span<const std::pair<const char*, std::string>> options, unsigned attributes);
[[nodiscard]] Result<void> mount_setattr(int tree, std::uint64_t attr_set, std::uint64_t attr_clr, int userns = -1);

[[nodiscard]] Result<Fd> memfd(const char* name, std::string_view content);  // sealed
struct SocketPair {
    Fd first;
    Fd second;
};
[[nodiscard]] Result<SocketPair> seqpacket_pair();  // AF_UNIX, CLOEXEC, non-blocking

// One message and its descriptors over a SOCK_SEQPACKET socket. EAGAIN is returned, not waited for.
inline constexpr std::size_t kMaxFdsPerMessage = 48;
[[nodiscard]] Result<void> send_message(int socket, std::span<const std::byte> data, std::span<const int> fds = {});
struct Received {
    std::size_t size = 0;  // 0: the peer has hung up
    std::vector<Fd> fds;
};
// A truncated message or control part is an error (protocol_error) and its descriptors are closed.
[[nodiscard]] Result<Received> receive_message(int socket, std::span<std::byte> buffer);

// A process identified beyond pid reuse.
struct ProcessIdentity {
    pid_t pid = 0;
    std::uint64_t start_ticks = 0;  // field 22 of /proc/<pid>/stat
    bool operator==(const ProcessIdentity&) const = default;
};
[[nodiscard]] Result<ProcessIdentity> identify(pid_t pid);
// A pidfd of exactly this process: opens, then checks the start time again.
[[nodiscard]] Result<Fd> pidfd_open(const ProcessIdentity& process);
[[nodiscard]] Result<void> pidfd_signal(int pidfd, int signal);
// Collects a child that has ended (its pidfd is readable), as waitid(2) reports it.
struct ChildExit {
    bool signaled = false;
    int status = 0;  // exit code, or signal
};
[[nodiscard]] Result<ChildExit> reap(int pidfd);

// Tries for an exclusive flock(2); false when another process holds it.
[[nodiscard]] Result<bool> try_lock(int fd);

[[nodiscard]] Result<void> fill_random(std::span<std::byte> out);

}  // namespace sandboxd::sys
