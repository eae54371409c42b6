#include "isolation/init/files.hpp"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "isolation/init/exec_child.hpp"
#include "isolation/init/file_tree.hpp"
#include "isolation/init/kernel.hpp"

namespace sandboxd::init {

using agent::Failure;
using agent::Step;
using agent::Type;

namespace {

constexpr unsigned kTaskSeconds = 60;        // of a task that talks to nobody but the file system
constexpr time_t kUploadSeconds = 3600;      // an upload that says nothing for so long is over
constexpr int kMaxLinks = 20;
constexpr int kConnectMilliseconds = 5000;

std::byte g_answer[agent::kMaxMessage];

template <class Body>
void answer(const TaskReply& reply, Type type, const Body& body, const int* fds = nullptr, std::size_t count = 0) {
    const std::size_t size = agent::encode(g_answer, sizeof g_answer, type, reply.request, body);
    // Blocks while the API is behind; the alarm ends a task whose API does not read.
    if (size != 0 && send_with_fds(reply.connection, g_answer, size, fds, count, 0)) *reply.answered = 1;
}

void answer_error(const TaskReply& reply, int error, Step step = Step::path) {
    Failure failure;
    failure.error = error;
    failure.step = step;
    answer(reply, Type::error, failure);
}

// A NUL-terminated copy of an absolute path.
struct Path {
    Text<agent::kMaxPath> text;
    bool take(std::string_view from) {
        text.add(from);
        if (!text.ok() || from.empty() || from[0] != '/' || from.find('\0') != std::string_view::npos) {
            errno = text.ok() ? EINVAL : ENAMETOOLONG;
            return false;
        }
        return true;
    }
    [[nodiscard]] const char* c_str() const { return text.c_str(); }
};

bool make_directories(const char* path, mode_t mode, bool last_too) {
    Text<agent::kMaxPath> partial;
    for (const char* p = path; *p != '\0'; ++p) {
        if (p != path && *p == '/' && ::mkdir(partial.c_str(), mode) != 0 && errno != EEXIST) return false;
        partial.add(std::string_view{p, 1});
    }
    return !last_too || ::mkdir(path, mode) == 0 || errno == EEXIST;
}

// Where writing to `path` ends up: through symlinks, so that replacing the file keeps the links to it. The jail's own
// root bounds every absolute target.
bool resolve_links(Text<agent::kMaxPath>& path) {
    for (int i = 0; i < kMaxLinks; ++i) {
        char target[agent::kMaxPath];
        const ssize_t n = ::readlink(path.c_str(), target, sizeof target - 1);
        if (n < 0) return errno == EINVAL || errno == ENOENT;
        const std::string_view link{target, static_cast<std::size_t>(n)};
        Text<agent::kMaxPath> next;
        if (link.empty() || link[0] != '/') next.add(path.view().substr(0, path.view().rfind('/') + 1));
        next.add(link);
        if (!next.ok()) {
            errno = ENAMETOOLONG;
            return false;
        }
        path = next;
    }
    errno = ELOOP;
    return false;
}

void serve_read(const TaskReply& reply, const Path& path) {
    // O_NONBLOCK: a FIFO without a writer must not hold the task.
    const int fd = open_plain(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY);
    struct stat st {};
    if (fd < 0 || ::fstat(fd, &st) != 0) return answer_error(reply, errno);
    if (S_ISDIR(st.st_mode)) return answer_error(reply, EISDIR);
    if (!S_ISREG(st.st_mode)) return answer_error(reply, EINVAL);
    agent::FileInfo info = info_of(st);
    info.path = path.text.view();
    answer(reply, Type::file_opened, info, &fd, 1);
}

struct Upload {
    Text<agent::kMaxPath> target;
    Text<agent::kMaxPath> temporary;
    int fd = -1;
};

// access(2) asks for the real ids, which stay the init's; this one for those that count (kernel 5.8).
bool may_write(const char* path) { return ::syscall(SYS_faccessat2, AT_FDCWD, path, W_OK, AT_EACCESS) == 0; }

bool open_upload(const agent::FileOpen& open, const Path& path, Upload& upload) {
    upload.target = path.text;
    if (!resolve_links(upload.target)) return false;
    struct stat st {};
    const bool exists = ::lstat(upload.target.c_str(), &st) == 0;
    if (exists && !S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        return false;
    }
    // Replacing by rename needs no right on the file itself; writing to it would, so that is what is asked for.
    if (exists && !may_write(upload.target.c_str())) return false;
    if (open.make_parents && !make_directories(upload.target.c_str(), 0755, false)) return false;
    upload.temporary.add(upload.target.view().substr(0, upload.target.view().rfind('/') + 1)).add(".sandboxd-upload-");
    upload.temporary.add(static_cast<std::uint64_t>(::getpid())).add("-").add(boot_time_ns());
    if (!upload.temporary.ok()) {
        errno = ENAMETOOLONG;
        return false;
    }
    const mode_t mode = exists ? st.st_mode & 07777 : open.permissions & 07777;
    upload.fd = ::open(upload.temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (upload.fd < 0) return false;
    if (exists && (st.st_uid != open.uid || st.st_gid != open.gid)) (void)!::fchown(upload.fd, st.st_uid, st.st_gid);
    return ::fchmod(upload.fd, mode) == 0;
}

void serve_replace(const TaskReply& reply, const agent::FileOpen& open, const Path& path) {
    Upload upload;
    if (!open_upload(open, path, upload)) {
        const int error = errno;
        if (upload.fd >= 0) ::unlink(upload.temporary.c_str());
        return answer_error(reply, error);
    }
    int session[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, session) != 0) {
        ::unlink(upload.temporary.c_str());
        return answer_error(reply, errno, Step::pipe);
    }
    struct stat st {};
    (void)::fstat(upload.fd, &st);
    agent::FileInfo info = info_of(st);
    info.path = upload.target.view();
    const int fds[] = {upload.fd, session[1]};
    answer(reply, Type::file_opened, info, fds, 2);
    ::close(session[1]);
    ::close(reply.connection);
    ::close(upload.fd);  // so that unlink() gives the space back before the hang-up says so
    ::alarm(0);  // from here the peer's silence is what is bounded, so that the temporary gets removed
    const timeval patience{kUploadSeconds, 0};
    (void)::setsockopt(session[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char command = 0;
    const ssize_t n = ::read(session[0], &command, 1);
    Failure result;
    if (n != 1 || command != 'c') {
        ::unlink(upload.temporary.c_str());
        return;
    }
    if (::rename(upload.temporary.c_str(), upload.target.c_str()) != 0) {
        result.error = errno;
        result.step = Step::path;
        ::unlink(upload.temporary.c_str());
    }
    wire::Writer writer{g_answer, sizeof g_answer};
    if (writer(result)) (void)send_with_fds(session[0], g_answer, writer.size(), nullptr, 0, 0);
}

void serve_stat(const TaskReply& reply, const agent::FileRef& ref, const Path& path) {
    struct stat st {};
    const int rc = ref.recursive ? ::stat(path.c_str(), &st) : ::lstat(path.c_str(), &st);
    if (rc != 0) return answer_error(reply, errno);
    agent::FileInfo info = info_of(st);
    info.path = path.text.view();
    char target[agent::kMaxPath];
    if (S_ISLNK(st.st_mode)) {
        const ssize_t n = ::readlink(path.c_str(), target, sizeof target);
        if (n > 0) info.target = {target, static_cast<std::size_t>(n)};
    }
    answer(reply, Type::file_info, info);
}

// Listings and watches: the API gets one end of a socket and reads at its own pace.
template <class Serve>
void serve_stream(const TaskReply& reply, Serve serve) {
    int stream[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, stream) != 0) return answer_error(reply, errno, Step::pipe);
    answer(reply, Type::file_listing, agent::Empty{}, &stream[1], 1);
    ::close(stream[1]);
    ::close(reply.connection);
    serve(stream[0]);
}

void answer_result(const TaskReply& reply, bool ok) {
    if (ok) return answer(reply, Type::ok, agent::Empty{});
    answer_error(reply, errno);
}

bool enter(const JailState& jail, const TaskReply& reply, std::uint32_t uid, std::uint32_t gid) {
    if (uid >= isolation::kWorkloadIds || gid >= isolation::kWorkloadIds) {
        answer_error(reply, EINVAL, Step::ids);
        return false;
    }
    if (uid == 0 && !jail.plan.allow_root) {
        answer_error(reply, EPERM, Step::ids);
        return false;
    }
    const Step step = become_file_user(jail, uid, gid);
    if (step != Step::none) {
        answer_error(reply, errno, step);
        return false;
    }
    // The request's paths come next: nothing of the init may be reachable through /proc/self/fd (see run_child). And a
    // watch that lasts must not keep another exec's stdin open.
    int keep[] = {reply.connection};
    if (!close_all_except(keep, 1)) {
        answer_error(reply, errno, Step::request);
        return false;
    }
    return true;
}

template <class Body, class Serve>
void with_path(const JailState& jail, const TaskReply& reply, wire::Reader& reader, Serve serve) {
    Body body;
    Path path;
    if (!agent::decode_body(reader, body)) return answer_error(reply, EBADMSG, Step::request);
    if (!path.take(body.path)) return answer_error(reply, errno);
    if (enter(jail, reply, body.uid, body.gid)) serve(body, path);
}

void serve_rename(const JailState& jail, const TaskReply& reply, wire::Reader& reader) {
    agent::FileRename body;
    Path from;
    Path to;
    if (!agent::decode_body(reader, body)) return answer_error(reply, EBADMSG, Step::request);
    if (!from.take(body.from) || !to.take(body.to)) return answer_error(reply, errno);
    if (enter(jail, reply, body.uid, body.gid)) answer_result(reply, ::rename(from.c_str(), to.c_str()) == 0);
}

void serve(const JailState& jail, const TaskReply& reply, Type type, wire::Reader reader) {
    switch (type) {
        case Type::file_open:
            return with_path<agent::FileOpen>(jail, reply, reader, [&](const agent::FileOpen& open, const Path& path) {
                if (open.mode == agent::OpenMode::read) return serve_read(reply, path);
                serve_replace(reply, open, path);
            });
        case Type::file_stat:
            return with_path<agent::FileRef>(jail, reply, reader,
                                             [&](const agent::FileRef& ref, const Path& path) { serve_stat(reply, ref, path); });
        case Type::file_remove:
            return with_path<agent::FileRef>(jail, reply, reader, [&](const agent::FileRef& ref, const Path& path) {
                answer_result(reply, ref.recursive ? remove_tree(path.c_str()) : remove_one(path.c_str()));
            });
        case Type::file_mkdir:
            return with_path<agent::FileRef>(jail, reply, reader, [&](const agent::FileRef& ref, const Path& path) {
                const mode_t mode = ref.permissions & 07777;
                const bool made = ref.recursive ? make_directories(path.c_str(), mode, true) : ::mkdir(path.c_str(), mode) == 0;
                struct stat st {};
                const bool folder = made && ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
                if (made && !folder) errno = ENOTDIR;
                answer_result(reply, folder);
            });
        case Type::file_list:
            return with_path<agent::FileList>(jail, reply, reader, [&](const agent::FileList& list, const Path& path) {
                const int folder = open_plain(path.c_str(), O_RDONLY | O_DIRECTORY);
                if (folder < 0) return answer_error(reply, errno);
                serve_stream(reply, [&](int stream) { list_tree(stream, folder, list.depth, list.limit); });
            });
        case Type::file_watch:
            return with_path<agent::FileWatch>(jail, reply, reader, [&](const agent::FileWatch& watch, const Path& path) {
                const int inotify = open_watch(path.c_str(), watch.recursive);
                if (inotify < 0) return answer_error(reply, errno);
                ::alarm(0);  // lasts as long as the API reads
                serve_stream(reply, [&](int stream) { stream_watch(stream, inotify); });
            });
        case Type::file_rename: return serve_rename(jail, reply, reader);
        default: return answer_error(reply, ENOSYS, Step::request);
    }
}

pid_t fork_task(unsigned seconds) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    // SIGALRM ends a task that hangs in a slow or hostile file system.
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::alarm(seconds);
    return 0;
}

int connect_loopback(std::uint16_t port) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    v6.sin6_addr = in6addr_loopback;
    const sockaddr* addresses[] = {reinterpret_cast<sockaddr*>(&v4), reinterpret_cast<sockaddr*>(&v6)};
    const socklen_t sizes[] = {sizeof v4, sizeof v6};
    for (int i = 0; i < 2; ++i) {
        const int fd = ::socket(addresses[i]->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) continue;
        if (::connect(fd, addresses[i], sizes[i]) == 0) return fd;
        pollfd wait{fd, POLLOUT, 0};
        int error = errno;
        socklen_t size = sizeof error;
        if (error == EINPROGRESS && ::poll(&wait, 1, kConnectMilliseconds) == 1) (void)::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error == 0) return fd;
        ::close(fd);
        errno = error;
    }
    return -1;
}

}  // namespace

int start_file_task(const JailState& jail, const TaskReply& reply, Type type, wire::Reader body) {
    const pid_t child = fork_task(kTaskSeconds);
    if (child != 0) return child;
    serve(jail, reply, type, body);
    ::_exit(0);
}

int start_connect_task(const JailState& jail, const TaskReply& reply, std::uint16_t port) {
    const pid_t child = fork_task(kTaskSeconds);
    if (child != 0) return child;
    if (enter(jail, reply, isolation::kUserId, isolation::kUserId)) {
        const int fd = connect_loopback(port);
        if (fd < 0) {
            answer_error(reply, errno);
        } else {
            answer(reply, Type::connected, agent::Empty{}, &fd, 1);
        }
    }
    ::_exit(0);
}

}  // namespace sandboxd::init
