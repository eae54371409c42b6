#include "isolation/init/kernel.hpp"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace sandboxd::init {

int sys_open_tree(int dir, const char* path, unsigned flags) {
    return static_cast<int>(::syscall(SYS_open_tree, dir, path, flags));
}

int sys_move_mount(int from, int to_dir) {
    return static_cast<int>(::syscall(SYS_move_mount, from, "", to_dir, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

int sys_mount_attributes(int mount, std::uint64_t set) {
    struct mount_attr attributes {};
    attributes.attr_set = set;
    return static_cast<int>(::syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &attributes, sizeof attributes));
}

int new_mount(const char* type, const MountOption* options, std::size_t count, unsigned attributes) {
    const int context = static_cast<int>(::syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
    if (context < 0) return -1;
    long rc = 0;
    for (std::size_t i = 0; i < count && rc == 0; ++i) {
        const unsigned command = options[i].value == nullptr ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING;
        rc = ::syscall(SYS_fsconfig, context, command, options[i].key, options[i].value, 0);
    }
    if (rc == 0) rc = ::syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0);
    const int mount = rc == 0 ? static_cast<int>(::syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes)) : -1;
    const int saved = errno;
    ::close(context);
    errno = saved;
    return mount;
}

int sys_pivot_root_here() { return static_cast<int>(::syscall(SYS_pivot_root, ".", ".")); }

int sys_close_range(unsigned first, unsigned last, unsigned flags) {
    return static_cast<int>(::syscall(SYS_close_range, first, last, flags));
}

int open_below(int root, const char* path, std::uint64_t flags) {
    struct open_how how {};
    how.flags = flags | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    return static_cast<int>(::syscall(SYS_openat2, root, path, &how, sizeof how));
}

int write_file(int dir, const char* path, std::string_view text) {
    const int fd = ::openat(dir, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return -1;
    const ssize_t n = ::write(fd, text.data(), text.size());
    const int saved = errno;
    ::close(fd);
    errno = saved;
    return n == static_cast<ssize_t>(text.size()) ? 0 : -1;
}

bool close_all_except(int* keep, std::size_t count) {
    for (std::size_t i = 1; i < count; ++i) {  // a handful: sorted by insertion
        const int value = keep[i];
        std::size_t at = i;
        for (; at > 0 && keep[at - 1] > value; --at) keep[at] = keep[at - 1];
        keep[at] = value;
    }
    unsigned next = 3;
    for (std::size_t i = 0; i < count; ++i) {
        if (keep[i] < static_cast<int>(next)) continue;
        const auto fd = static_cast<unsigned>(keep[i]);
        if (fd > next && sys_close_range(next, fd - 1, 0) != 0) return false;
        next = fd + 1;
    }
    return sys_close_range(next, ~0U, 0) == 0;
}

int open_plain(const char* path, int flags) {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags) | O_CLOEXEC;
    how.resolve = RESOLVE_NO_MAGICLINKS;
    return static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how));
}

std::uint64_t boot_time_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec);
}

bool send_with_fds(int socket, const std::byte* data, std::size_t size, const int* fds, std::size_t count, int flags) {
    iovec iov{const_cast<std::byte*>(data), size};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 8)] = {};
    msghdr message{};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    if (count > 0) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * count);
        ::memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
    }
    ssize_t n = 0;
    do {
        n = ::sendmsg(socket, &message, MSG_NOSIGNAL | flags);
    } while (n < 0 && errno == EINTR);
    return n == static_cast<ssize_t>(size);
}

Incoming receive_with_fds(int socket, std::byte* buffer, std::size_t capacity, int flags) {
    Incoming out;
    iovec iov{buffer, capacity};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxReceivedFds)];
    msghdr message{};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    do {
        out.size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags);
    } while (out.size < 0 && errno == EINTR);
    if (out.size < 0) return out;
    for (cmsghdr* h = CMSG_FIRSTHDR(&message); h != nullptr; h = CMSG_NXTHDR(&message, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < n && out.fd_count < kMaxReceivedFds; ++i) {
            ::memcpy(&out.fds[out.fd_count++], CMSG_DATA(h) + i * sizeof(int), sizeof(int));
        }
    }
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        for (std::size_t i = 0; i < out.fd_count; ++i) ::close(out.fds[i]);
        out.fd_count = 0;
        out.size = -1;
        errno = EMSGSIZE;
    }
    return out;
}

}  // namespace sandboxd::init
