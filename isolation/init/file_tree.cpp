#include "isolation/init/file_tree.hpp"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "isolation/init/kernel.hpp"

namespace sandboxd::init {

using agent::FileKind;
using agent::ListPacket;

namespace {

constexpr std::uint32_t kMaxDepth = 64;
constexpr std::size_t kMaxWatches = 1024;
constexpr std::size_t kPacket = 16 * 1024;

// Entries of an open folder by getdents64(2): opendir(3) allocates.
class Entries {
public:
    explicit Entries(int folder) : folder_{folder} {}
    // Null at the end or on an error.
    const char* next() {
        for (;;) {
            if (at_ >= size_) {
                size_ = ::syscall(SYS_getdents64, folder_, buffer_, sizeof buffer_);
                at_ = 0;
                if (size_ <= 0) return nullptr;
            }
            const auto* entry = reinterpret_cast<const dirent64*>(buffer_ + at_);
            at_ += entry->d_reclen;
            if (::strcmp(entry->d_name, ".") != 0 && ::strcmp(entry->d_name, "..") != 0) return entry->d_name;
        }
    }
    void rewind() {
        (void)::lseek(folder_, 0, SEEK_SET);
        at_ = size_ = 0;
    }

private:
    int folder_;
    alignas(dirent64) char buffer_[2048];
    long size_ = 0;
    long at_ = 0;
};

int open_folder(int parent, const char* name) {
    return ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
}

// Depth is bounded by moving a folder that lies too deep up to `top`, where its turn comes later: a chain of any length
// is removed with a bounded stack and bounded descriptors.
bool empty_folder(int top, int folder, std::uint32_t depth, std::uint64_t& moved) {
    Entries entries{folder};
    bool progress = true;
    while (progress) {
        progress = false;
        entries.rewind();
        while (const char* name = entries.next()) {
            if (::unlinkat(folder, name, 0) == 0 || errno == ENOENT) {
                progress = true;
                continue;
            }
            if (errno != EISDIR && errno != EPERM) return false;
            if (::unlinkat(folder, name, AT_REMOVEDIR) == 0) {
                progress = true;
                continue;
            }
            if (errno != ENOTEMPTY && errno != EEXIST) return false;
            if (depth >= kMaxDepth) {
                Text<64> place;
                place.add(".sandboxd-remove-").add(++moved);
                if (::renameat(folder, name, top, place.c_str()) != 0) return false;
                progress = true;
                continue;
            }
            const int inner = open_folder(folder, name);
            if (inner < 0) return false;
            const bool emptied = empty_folder(top, inner, depth + 1, moved);
            const int saved = errno;
            ::close(inner);
            errno = saved;
            if (!emptied || (::unlinkat(folder, name, AT_REMOVEDIR) != 0 && errno != ENOENT)) return false;
            progress = true;
        }
    }
    return true;
}

template <class Body>
bool send_packet(int stream, ListPacket kind, const Body& body) {
    static std::byte buffer[kPacket];
    wire::Writer writer{buffer, sizeof buffer};
    if (!writer(kind) || !writer(body)) return true;  // an entry that does not fit is left out
    return send_with_fds(stream, buffer, writer.size(), nullptr, 0, 0);
}

struct Listing {
    int stream;
    std::uint32_t left;
    bool cut = false;
    Text<agent::kMaxPath> path;  // of the folder that is being read, relative to the listed one
};

// False: stop.
bool list_folder(Listing& listing, int folder, std::uint32_t depth) {
    Entries entries{folder};
    const std::size_t base = listing.path.size();
    while (const char* name = entries.next()) {
        struct stat st {};
        if (::fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;  // it went meanwhile
        if (listing.left == 0) {
            listing.cut = true;
            return false;
        }
        --listing.left;
        listing.path.add(base == 0 ? "" : "/").add(name);
        agent::FileInfo info = info_of(st);
        info.path = listing.path.view();
        char target[1024];
        if (S_ISLNK(st.st_mode)) {
            const ssize_t n = ::readlinkat(folder, name, target, sizeof target);
            if (n > 0) info.target = {target, static_cast<std::size_t>(n)};
        }
        if (!send_packet(listing.stream, ListPacket::entry, info)) return false;
        if (S_ISDIR(st.st_mode) && depth > 1 && listing.path.ok()) {
            const int inner = open_folder(folder, name);
            const bool go_on = inner < 0 || list_folder(listing, inner, depth - 1);
            if (inner >= 0) ::close(inner);
            if (!go_on) return false;
        }
        listing.path.cut(base);
    }
    return true;
}

// Without a constructor: this half a mebibyte stays zero pages that nobody has touched in PID 1, and in every task but
// a watch.
struct Watch {
    int wd;
    std::uint32_t path_size;
    char path[512];  // relative to the watched folder
    [[nodiscard]] std::string_view view() const { return {path, path_size}; }
};

Watch g_watches[kMaxWatches];
std::size_t g_watch_count = 0;
Text<agent::kMaxPath> g_watch_root;
bool g_watch_recursive = false;

constexpr std::uint32_t kWatchMask = IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB |
                                     IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK;

bool add_watch(int inotify, std::string_view relative, std::uint32_t depth) {
    Text<agent::kMaxPath> full;
    full.add(g_watch_root.view()).add(relative.empty() ? "" : "/").add(relative);
    if (!full.ok() || relative.size() >= 512 || g_watch_count == kMaxWatches) {
        errno = ENOSPC;
        return false;
    }
    const int wd = ::inotify_add_watch(inotify, full.c_str(), kWatchMask);
    if (wd < 0) return false;
    std::size_t at = 0;
    while (at < g_watch_count && g_watches[at].wd != wd) ++at;
    if (at == g_watch_count) ++g_watch_count;
    g_watches[at].wd = wd;
    g_watches[at].path_size = static_cast<std::uint32_t>(relative.size());
    ::memcpy(g_watches[at].path, relative.data(), relative.size());
    if (!g_watch_recursive || depth >= kMaxDepth) return true;
    const int folder = ::open(full.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0) return true;
    Entries entries{folder};
    while (const char* name = entries.next()) {
        struct stat st {};
        if (::fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode)) continue;
        Text<512> inner;
        inner.add(relative).add(relative.empty() ? "" : "/").add(name);
        if (inner.ok()) (void)add_watch(inotify, inner.view(), depth + 1);  // what exceeds the bounds is not watched
    }
    ::close(folder);
    return true;
}

agent::FileEventKind kind_of(std::uint32_t mask) {
    using agent::FileEventKind;
    if ((mask & IN_Q_OVERFLOW) != 0) return FileEventKind::overflow;
    if ((mask & IN_CREATE) != 0) return FileEventKind::create;
    if ((mask & (IN_MODIFY | IN_CLOSE_WRITE)) != 0) return FileEventKind::write;
    if ((mask & IN_DELETE) != 0) return FileEventKind::remove;
    if ((mask & (IN_MOVED_FROM | IN_MOVED_TO)) != 0) return FileEventKind::rename;
    return FileEventKind::chmod;
}

bool send_event(int stream, int inotify, const inotify_event& event) {
    agent::FileEvent out;
    out.kind = kind_of(event.mask);
    Text<agent::kMaxPath> path;
    for (std::size_t i = 0; i < g_watch_count; ++i) {
        if (g_watches[i].wd == event.wd) path.add(g_watches[i].view());
    }
    if (event.len > 0) path.add(path.size() == 0 ? "" : "/").add(std::string_view{event.name, ::strnlen(event.name, event.len)});
    out.path = path.view();
    if ((event.mask & IN_IGNORED) != 0) return true;
    if (g_watch_recursive && (event.mask & IN_ISDIR) != 0 && (event.mask & (IN_CREATE | IN_MOVED_TO)) != 0) {
        (void)add_watch(inotify, path.view(), 1);
    }
    return send_packet(stream, ListPacket::event, out);
}

}  // namespace

agent::FileInfo info_of(const struct stat& st) {
    agent::FileInfo info;
    switch (st.st_mode & S_IFMT) {
        case S_IFREG: info.kind = FileKind::file; break;
        case S_IFDIR: info.kind = FileKind::directory; break;
        case S_IFLNK: info.kind = FileKind::symlink; break;
        case S_IFIFO: info.kind = FileKind::fifo; break;
        case S_IFSOCK: info.kind = FileKind::socket; break;
        case S_IFCHR: info.kind = FileKind::character; break;
        case S_IFBLK: info.kind = FileKind::block; break;
        default: info.kind = FileKind::other; break;
    }
    info.mode = st.st_mode & 07777;
    info.uid = st.st_uid;
    info.gid = st.st_gid;
    info.size = static_cast<std::uint64_t>(st.st_size);
    info.modified_ns = st.st_mtim.tv_sec * 1'000'000'000LL + st.st_mtim.tv_nsec;
    info.inode = st.st_ino;
    return info;
}

bool remove_one(const char* path) {
    if (::unlink(path) == 0) return true;
    if (errno != EISDIR && errno != EPERM) return false;
    const int refused = errno;
    if (::rmdir(path) == 0) return true;
    if (errno == ENOTDIR) errno = refused;
    return false;
}

bool remove_tree(const char* path) {
    if (remove_one(path)) return true;
    if (errno != ENOTEMPTY && errno != EEXIST) return false;
    const int top = open_folder(AT_FDCWD, path);
    if (top < 0) return false;
    std::uint64_t moved = 0;
    const bool emptied = empty_folder(top, top, 1, moved);
    const int saved = errno;
    ::close(top);
    errno = saved;
    return emptied && ::rmdir(path) == 0;
}

void list_tree(int stream, int folder, std::uint32_t depth, std::uint32_t limit) {
    Listing listing{stream, limit, false, {}};
    (void)list_folder(listing, folder, depth < kMaxDepth ? depth : kMaxDepth);
    agent::Failure end;
    end.error = listing.cut ? E2BIG : 0;
    (void)send_packet(stream, ListPacket::end, end);
}

int open_watch(const char* path, bool recursive) {
    const int inotify = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (inotify < 0) return -1;
    g_watch_root.add(path);
    g_watch_recursive = recursive;
    if (add_watch(inotify, "", 1)) return inotify;
    const int saved = errno;
    ::close(inotify);
    errno = saved;
    return -1;
}

void stream_watch(int stream, int inotify) {
    for (;;) {
        pollfd fds[] = {{inotify, POLLIN, 0}, {stream, POLLIN, 0}};
        if (::poll(fds, 2, -1) < 0 && errno != EINTR) return;
        if (fds[1].revents != 0) return;
        alignas(inotify_event) char buffer[4096];
        const ssize_t n = ::read(inotify, buffer, sizeof buffer);
        for (ssize_t at = 0; at < n;) {
            const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
            if (!send_event(stream, inotify, *event)) return;
            at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
        }
    }
}

}  // namespace sandboxd::init
