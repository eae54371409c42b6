#include "sandboxd/core/sys.hpp"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

// glibc's <sys/mount.h> and <linux/mount.h> can't be included together before glibc 2.37.
extern "C" int mount(const char*, const char*, const char*, unsigned long, const void*);
extern "C" int umount2(const char*, int);

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

Result<void> check(long rc, const char* operation, std::string detail = {},
                   boost::source_location where = BOOST_CURRENT_LOCATION) {
    if (rc < 0) return errno_error(operation, std::move(detail), where);
    return {};
}

Result<void> sync_parent(const std::string& path) {
    const auto slash = path.rfind('/');
    const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    SBX_TRY(Fd dir, open(parent, O_RDONLY | O_DIRECTORY));
    return check(retry([&] { return ::fsync(dir.get()); }), "fsync", parent);
}

}  // namespace

Result<Fd> openat(int dir, const char* path, int flags, mode_t mode) {
    const int fd = retry([&] { return ::openat(dir, path, flags | O_CLOEXEC, mode); });
    if (fd < 0) return errno_error("open", path);
    return Fd{fd};
}

Result<Fd> dup(int fd) {
    const int copy = retry([&] { return ::fcntl(fd, F_DUPFD_CLOEXEC, 3); });
    if (copy < 0) return errno_error("dup");
    return Fd{copy};
}

Result<void> raise_fd_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return errno_error("getrlimit", "RLIMIT_NOFILE");
    rlim_t most = limit.rlim_max;
    if (const auto text = read_file("/proc/sys/fs/nr_open")) std::from_chars(text->data(), text->data() + text->size(), most);
    const rlimit raised{most, most};
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) return {};
    limit.rlim_cur = limit.rlim_max;
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return errno_error("setrlimit", "RLIMIT_NOFILE");
    return {};
}

Result<void> mkdirat(int dir, const char* path, mode_t mode) {
    return check(::mkdirat(dir, path, mode), "mkdir", path);
}

Result<void> ensure_dir(const std::string& path, mode_t mode) {
    if (::mkdir(path.c_str(), mode) == 0) return check(::chmod(path.c_str(), mode), "chmod", path);
    if (errno != EEXIST) return errno_error("mkdir", path);
    // A file of that name exists as well.
    SBX_TRY(const struct stat st, statat(AT_FDCWD, path.c_str()));
    if (!S_ISDIR(st.st_mode)) return errno_error(ENOTDIR, "mkdir", path);
    return {};
}

Result<void> unlinkat(int dir, const char* path, int flags) {
    return check(::unlinkat(dir, path, flags), "unlink", path);
}

Result<void> rename(const std::string& from, const std::string& to) {
    return check(::rename(from.c_str(), to.c_str()), "rename", from + " to " + to);
}

Result<void> chownat(int dir, const char* path, uid_t uid, gid_t gid) {
    return check(::fchownat(dir, path, uid, gid, AT_SYMLINK_NOFOLLOW | (*path == 0 ? AT_EMPTY_PATH : 0)),
                 "chown", path);
}

Result<void> chmod(const std::string& path, mode_t mode) { return check(::chmod(path.c_str(), mode), "chmod", path); }

Result<struct stat> fstat(int fd) {
    struct stat st {};
    if (::fstat(fd, &st) < 0) return errno_error("fstat");
    return st;
}

Result<struct stat> statat(int dir, const char* path, int flags) {
    struct stat st {};
    if (::fstatat(dir, path, &st, flags) < 0) return errno_error("stat", path);
    return st;
}

bool exists(const std::string& path) noexcept { return ::access(path.c_str(), F_OK) == 0; }

Result<std::string> read_file_at(int dir, const char* path, std::size_t limit) {
    SBX_TRY(Fd fd, openat(dir, path, O_RDONLY));
    std::string out;
    std::array<char, 4096> buffer;
    for (;;) {
        const ssize_t n = retry([&] { return ::read(fd.get(), buffer.data(), buffer.size()); });
        if (n < 0) return errno_error("read", path);
        if (n == 0) return out;
        if (out.size() + static_cast<std::size_t>(n) > limit) {
            return Error{Errc::payload_too_large, "read", std::string{path} + " is larger than " + std::to_string(limit) + " bytes"};
        }
        out.append(buffer.data(), static_cast<std::size_t>(n));
    }
}

Result<void> write_control(int dir, const char* path, std::string_view value) {
    SBX_TRY(Fd fd, openat(dir, path, O_WRONLY));
    const ssize_t n = retry([&] { return ::write(fd.get(), value.data(), value.size()); });
    if (n < 0) return errno_error("write", std::string{path} + " = " + std::string{value});
    return {};
}

Result<void> write_file_atomic(const std::string& path, std::string_view content, mode_t mode) {
    const std::string temporary = path + ".new";
    {
        SBX_TRY(Fd fd, open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode));
        SBX_CHECK(write_all(fd.get(), std::as_bytes(std::span{content})));
        SBX_CHECK(check(::fchmod(fd.get(), mode), "chmod", temporary));
        SBX_CHECK(check(retry([&] { return ::fsync(fd.get()); }), "fsync", temporary));
    }
    SBX_CHECK(rename(temporary, path));
    return sync_parent(path);
}

Result<void> write_all(int fd, std::span<const std::byte> data) {
    while (!data.empty()) {
        const ssize_t n = retry([&] { return ::write(fd, data.data(), data.size()); });
        if (n < 0) return errno_error("write");
        data = data.subspan(static_cast<std::size_t>(n));
    }
    return {};
}

Result<std::size_t> read_some(int fd, std::span<std::byte> buffer) {
    const ssize_t n = retry([&] { return ::read(fd, buffer.data(), buffer.size()); });
    if (n < 0) return errno_error("read");
    return static_cast<std::size_t>(n);
}

Result<void> set_nonblocking(int fd) {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0) return errno_error("fcntl");
    return check(::fcntl(fd, F_SETFL, flags | O_NONBLOCK), "fcntl");
}

Result<void> mount(const char* source, const char* target, const char* type, unsigned long flags, const char* data) {
    return check(::mount(source, target, type, flags, data), "mount", target);
}

Result<void> umount(const char* target, int flags) { return check(::umount2(target, flags), "umount", target); }

Result<Fd> clone_tree(int dir, const char* path) {
    const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (*path == 0 ? AT_EMPTY_PATH : 0);
    const long fd = ::syscall(SYS_open_tree, dir, path, flags);
    if (fd < 0) return errno_error("open_tree", path);
    return Fd{static_cast<int>(fd)};
}

Result<Fd> new_tmpfs(std::span<const std::pair<const char*, std::string>> options, unsigned attributes) {
    const Fd context{static_cast<int>(::syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC))};
    if (!context.valid()) return errno_error("fsopen", "tmpfs");
    for (const auto& [key, value] : options) {
        SBX_CHECK(check(::syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0), "fsconfig", key));
    }
    SBX_CHECK(check(::syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0), "fsconfig", "create"));
    Fd mount{static_cast<int>(::syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, attributes))};
    if (!mount.valid()) return errno_error("fsmount", "tmpfs");
    return mount;
}

Result<void> mount_setattr(int tree, std::uint64_t attr_set, std::uint64_t attr_clr, int userns) {
    struct mount_attr attr {};
    attr.attr_set = attr_set;
    attr.attr_clr = attr_clr;
    if (userns >= 0) {
        attr.attr_set |= MOUNT_ATTR_IDMAP;
        attr.userns_fd = static_cast<std::uint64_t>(userns);
    }
    return check(::syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr), "mount_setattr");
}

Result<Fd> memfd(const char* name, std::string_view content) {
    Fd fd{::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (!fd.valid()) return errno_error("memfd_create", name);
    SBX_CHECK(write_all(fd.get(), std::as_bytes(std::span{content})));
    if (::lseek(fd.get(), 0, SEEK_SET) < 0) return errno_error("lseek", name);
    SBX_CHECK(check(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL), "seal", name));
    return fd;
}

Result<SocketPair> seqpacket_pair() {
    std::array<int, 2> fds{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds.data()) < 0) {
        return errno_error("socketpair");
    }
    return SocketPair{Fd{fds[0]}, Fd{fds[1]}};
}

Result<void> send_message(int socket, std::span<const std::byte> data, std::span<const int> fds) {
    if (fds.size() > kMaxFdsPerMessage) return Error{Errc::invalid_argument, "sendmsg", "too many descriptors"};
    iovec iov{const_cast<std::byte*>(data.data()), data.size()};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int) * kMaxFdsPerMessage)> control{};
    msghdr message{};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(fds.size_bytes());
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fds.size_bytes());
        std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
    }
    const ssize_t n = retry([&] { return ::sendmsg(socket, &message, MSG_NOSIGNAL); });
    return check(n, "sendmsg");
}

Result<Received> receive_message(int socket, std::span<std::byte> buffer) {
    iovec iov{buffer.data(), buffer.size()};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int) * kMaxFdsPerMessage)> control{};
    msghdr message{};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t n = retry([&] { return ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC); });
    if (n < 0) return errno_error("recvmsg");
    Received out;
    out.size = static_cast<std::size_t>(n);
    for (cmsghdr* h = CMSG_FIRSTHDR(&message); h != nullptr; h = CMSG_NXTHDR(&message, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof fd);
            out.fds.emplace_back(fd);
        }
    }
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        return Error{Errc::protocol_error, "recvmsg", "message or its descriptors were truncated"};
    }
    return out;
}

Result<ProcessIdentity> identify(pid_t pid) {
    SBX_TRY(const std::string text, read_file("/proc/" + std::to_string(pid) + "/stat", 8192));
    // The command may hold spaces and parentheses: fields count from the last ')'. starttime is field 22, state is 3.
    auto at = text.rfind(')');
    if (at == std::string::npos) return Error{Errc::not_found, "identify", "malformed stat"};
    std::size_t field = 2;
    while (field < 22) {
        at = text.find(' ', at + 1);
        if (at == std::string::npos) return Error{Errc::not_found, "identify", "malformed stat"};
        ++field;
    }
    std::uint64_t ticks = 0;
    const char* begin = text.data() + at + 1;
    if (std::from_chars(begin, text.data() + text.size(), ticks).ec != std::errc{}) {
        return Error{Errc::not_found, "identify", "malformed stat"};
    }
    return ProcessIdentity{pid, ticks};
}

Result<Fd> pidfd_open(const ProcessIdentity& process) {
    const long fd = ::syscall(SYS_pidfd_open, process.pid, 0U);
    if (fd < 0) return errno_error("pidfd_open", std::to_string(process.pid));
    Fd out{static_cast<int>(fd)};
    SBX_TRY(const ProcessIdentity now, identify(process.pid));
    if (now != process) return errno_error(ESRCH, "pidfd_open", "pid " + std::to_string(process.pid) + " was reused");
    return out;
}

Result<void> pidfd_signal(int pidfd, int signal) {
    return check(::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0U), "pidfd_send_signal");
}

Result<ChildExit> reap(int pidfd) {
    siginfo_t info{};
    // P_PIDFD is 3; the enumerator came with glibc 2.36.
    SBX_CHECK(check(retry([&] { return ::waitid(static_cast<idtype_t>(3), static_cast<id_t>(pidfd), &info, WEXITED); }), "waitid"));
    return ChildExit{info.si_code != CLD_EXITED, info.si_status};
}

Result<bool> try_lock(int fd) {
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno == EWOULDBLOCK) return false;
    return errno_error("flock");
}

Result<void> fill_random(std::span<std::byte> out) {
    while (!out.empty()) {
        const ssize_t n = retry([&] { return ::getrandom(out.data(), out.size(), 0); });
        if (n < 0) return errno_error("getrandom");
        out = out.subspan(static_cast<std::size_t>(n));
    }
    return {};
}

}  // namespace sandboxd::sys
