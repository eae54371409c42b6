#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sandboxd/core/wire.hpp"

// The agent protocol: sandboxd-api <-> sandbox-init, one AF_UNIX SOCK_SEQPACKET connection per jail,
// one message per packet, descriptors by SCM_RIGHTS.
//
// sandbox-init owns the listening socket. A new connection replaces the old one: that is how the API
// comes back after a crash. After hello_ok the init reports every exec it still holds (exec_state with
// the same descriptors that exec_started carried), then sync_done. Nothing about an exec is dropped
// before the API says forget.
//
// Trust: the API treats every byte from this socket as hostile (the init shares a kernel and a
// process tree with user code). The init trusts the API but still bounds everything.
//
// Used by sandbox-init: freestanding headers only.
namespace sandboxd::agent {

inline constexpr std::uint32_t kMagic = 0x31415853;  // "SXA1"
inline constexpr std::uint16_t kVersion = 1;
// Fits AF_UNIX's default send buffer (net.core.wmem_default, 212992) with its bookkeeping.
inline constexpr std::size_t kMaxMessage = 160 * 1024;
inline constexpr std::size_t kMaxFds = 4;
inline constexpr std::size_t kMaxPath = 4096;
inline constexpr std::uint32_t kMaxExecs = 256;       // alive or not yet forgotten, per jail
inline constexpr std::uint32_t kMaxFileTasks = 32;    // file operations under way, per jail

enum class Type : std::uint16_t {
    // API -> init; the reply carries the same request number
    hello = 1,        // -> hello_ok, then exec_state*, sync_done
    exec = 2,         // -> exec_started + fds, or error
    signal = 3,       // -> ok or error
    resize = 4,       // -> ok or error
    close_stdin = 5,  // -> ok or error
    forget = 6,       // -> ok or error
    file_open = 7,    // -> file_opened + fds, or error
    file_stat = 8,    // -> file_info, or error
    file_list = 9,    // -> file_listing + fd, or error
    file_remove = 10, // -> ok or error
    file_mkdir = 11,  // -> ok or error
    file_rename = 12, // -> ok or error
    file_watch = 13,  // -> file_listing + fd (stream of FileEvent), or error
    connect_port = 14,// -> connected + fd, or error
    ping = 15,        // -> pong
    // init -> API
    hello_ok = 64,
    exec_state = 65,
    sync_done = 66,
    exec_started = 67,
    ok = 68,
    error = 69,
    file_opened = 70,
    file_info = 71,
    file_listing = 72,
    connected = 73,
    pong = 74,
    // events: request number 0
    exec_exited = 96,
    exec_refusals = 97,  // before exec_exited, at a hello before sync_done, and whenever an entry is new
};

struct Header {
    std::uint32_t magic = kMagic;
    std::uint16_t version = kVersion;
    Type type{};
    std::uint32_t request = 0;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.magic) && a(s.version) && a(s.type) && a(s.request); }
};

struct Empty {  // ok, ping, pong, sync_done, hello
    template <class A, class S>
    static bool visit(A&, S&) { return true; }
};

struct HelloOk {
    std::uint32_t execs = 0;  // how many exec_state follow
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.execs); }
};

// Where in the init a request failed, beside the errno.
enum class Step : std::uint16_t {
    none = 0, request, fork, cgroup, pipe, pty, userns, session, ids, rlimits, files, cwd, seccomp, exec, path, busy,
};

struct Failure {
    std::int32_t error = 0;  // errno
    Step step = Step::none;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.error) && a(s.step); }
};

enum ExecFlags : std::uint32_t {
    kPty = 1U << 0,         // stdin, stdout and stderr are one pseudo-terminal, the process leads its session
    kStdin = 1U << 1,       // keep stdin open as a pipe; without it stdin is /dev/null (ignored with kPty)
    kWithFiles = 1U << 2,   // a memfd with files to write before exec comes with the message, see FileRecord
    kTimeoutKills = 1U << 3,// at the deadline SIGKILL at once, without SIGTERM and grace
};

// argv and env: NUL-terminated strings one after another. argv[0] without '/' is searched in PATH of env.
struct Exec {
    std::uint64_t exec = 0;  // chosen by the API, unique in the jail; names the cgroup leaf "e<decimal>"
    std::uint32_t flags = 0;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint64_t timeout_ms = 0;     // 0: none. Kept by the init, so it holds while the daemon is dead.
    std::uint32_t kill_grace_ms = 0;  // between SIGTERM and SIGKILL of the tree
    std::uint16_t rows = 0;
    std::uint16_t cols = 0;
    std::string_view cwd;
    std::string_view argv;
    std::string_view env;
    template <class A, class S>
    static bool visit(A& a, S& s) {
        return a(s.exec) && a(s.flags) && a(s.uid) && a(s.gid) && a(s.timeout_ms) && a(s.kill_grace_ms) && a(s.rows) &&
               a(s.cols) && a(s.cwd) && a(s.argv) && a(s.env);
    }
};

// The memfd of kWithFiles: records back to back, written by the exec's own child with the exec's ids, after it
// entered the jail's cgroup and before exec. Relative paths start at cwd. Parents are made (0755).
struct FileRecord {
    std::uint32_t mode = 0644;
    std::string_view path;
    std::string_view content;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.mode) && a(s.path) && a(s.content); }
};

// Descriptors, in order. Without kPty: stdout read end, stderr read end, then stdin write end if kStdin.
// With kPty: terminal master, relay pipe read end, relay pipe write end. The API moves master -> relay with
// splice and relay -> spill file with splice, so a byte is always in the terminal, the relay or the file.
// The init keeps a duplicate of each, so that the API may die.
struct ExecStarted {
    std::uint64_t exec = 0;
    std::int32_t pid = 0;  // in the jail's pid namespace
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.exec) && a(s.pid); }
};

enum class ExitKind : std::uint8_t { running = 0, exited = 1, signaled = 2 };

struct ExecState {
    std::uint64_t exec = 0;
    std::int32_t pid = 0;
    std::uint32_t flags = 0;      // as started
    ExitKind kind{};
    std::int32_t status = 0;      // exit code or signal
    bool timed_out = false;       // the init's deadline ended it
    std::uint64_t started_ns = 0; // CLOCK_BOOTTIME of the host
    std::uint64_t ended_ns = 0;   // 0 while it runs
    template <class A, class S>
    static bool visit(A& a, S& s) {
        return a(s.exec) && a(s.pid) && a(s.flags) && a(s.kind) && a(s.status) && a(s.timed_out) && a(s.started_ns) && a(s.ended_ns);
    }
};
// exec_exited carries an ExecState too, without descriptors. The main process has been reaped; processes it left
// behind may still run in its leaf and hold its pipes. The leaf stays until forget and until it is empty.

inline constexpr std::size_t kMaxRefusals = 32;  // kinds of refused calls that are told apart, per exec

// System calls of an exec, and of what it started, that the seccomp profile refused with a note.
struct Refusal {
    std::uint16_t number = 0;  // of the system call
    std::uint16_t error = 0;   // what it was answered
    std::uint8_t shown[2] = {};    // which argument each of `values` is, counted from 1; 0: none
    std::uint32_t values[2] = {};  // their lower 32 bits
    std::uint64_t count = 0;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.number) && a(s.error) && a(s.shown) && a(s.values) && a(s.count); }
};

struct ExecRefusals {
    std::uint64_t exec = 0;
    std::uint64_t others = 0;  // refused calls beyond the list
    std::uint32_t used = 0;
    Refusal list[kMaxRefusals];  // those beyond `used` are empty
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.exec) && a(s.others) && a(s.used) && a(s.list); }
};

enum class SignalScope : std::uint8_t {
    process = 0,  // the main process
    group = 1,    // its process group (the terminal's foreground group with kPty)
    tree = 2,     // every process of the leaf; SIGKILL uses cgroup.kill
};

struct Signal {
    std::uint64_t exec = 0;
    std::int32_t signal = 0;
    SignalScope scope{};
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.exec) && a(s.signal) && a(s.scope); }
};

struct Resize {
    std::uint64_t exec = 0;
    std::uint16_t rows = 0;
    std::uint16_t cols = 0;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.exec) && a(s.rows) && a(s.cols); }
};

struct ExecRef {  // close_stdin, forget
    std::uint64_t exec = 0;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.exec); }
};

// File operations run in a child of the init that has taken the given ids in the workload's user namespace, so a
// path can reach exactly what that user could. Paths are absolute, resolved in the jail.
enum class OpenMode : std::uint8_t {
    read = 0,     // one fd, O_RDONLY|O_NONBLOCK: a regular file (EISDIR, ENXIO and EINVAL otherwise)
    replace = 1,  // two fds: a new temporary file beside the target, and a socket (SOCK_SEQPACKET) that
                  // takes one byte 'c' to rename it over the target and answers with a Failure (error 0:
                  // done); another byte, or hanging up, removes the temporary.
};

struct FileOpen {
    OpenMode mode{};
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint32_t permissions = 0644;  // of a new file; an existing target's are kept
    bool make_parents = false;
    std::string_view path;
    template <class A, class S>
    static bool visit(A& a, S& s) {
        return a(s.mode) && a(s.uid) && a(s.gid) && a(s.permissions) && a(s.make_parents) && a(s.path);
    }
};

enum class FileKind : std::uint8_t { other = 0, file, directory, symlink, fifo, socket, character, block };

struct FileInfo {
    FileKind kind{};
    std::uint32_t mode = 0;  // permission bits
    std::uint32_t uid = 0;   // as seen in the jail
    std::uint32_t gid = 0;
    std::uint64_t size = 0;
    std::int64_t modified_ns = 0;  // since the epoch
    std::uint64_t inode = 0;
    std::string_view path;    // absolute; of a listing's entry: relative to the listed folder
    std::string_view target;  // of a symlink
    template <class A, class S>
    static bool visit(A& a, S& s) {
        return a(s.kind) && a(s.mode) && a(s.uid) && a(s.gid) && a(s.size) && a(s.modified_ns) && a(s.inode) && a(s.path) && a(s.target);
    }
};

struct FileRef {  // file_stat, file_remove, file_mkdir
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint32_t permissions = 0755;  // mkdir
    bool recursive = false;            // remove a tree, make parents, follow a final symlink (stat)
    std::string_view path;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.uid) && a(s.gid) && a(s.permissions) && a(s.recursive) && a(s.path); }
};

struct FileRename {
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::string_view from;
    std::string_view to;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.uid) && a(s.gid) && a(s.from) && a(s.to); }
};

// Answered with a SOCK_SEQPACKET socket that streams one FileInfo per packet (listing) or one FileEvent per packet
// (watch); a listing ends with an 8-byte packet: a Failure padded by its codec, error 0 for a complete listing,
// E2BIG when `limit` cut it. The first byte of each packet is a ListPacket.
enum class ListPacket : std::uint8_t { entry = 1, event = 2, end = 3 };

struct FileList {
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::uint32_t depth = 1;      // 1: the folder's own entries
    std::uint32_t limit = 10000;  // entries
    std::string_view path;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.uid) && a(s.gid) && a(s.depth) && a(s.limit) && a(s.path); }
};

enum class FileEventKind : std::uint8_t { create = 1, write, remove, rename, chmod, overflow };

struct FileEvent {
    FileEventKind kind{};
    std::string_view path;  // relative to the watched folder
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.kind) && a(s.path); }
};

struct FileWatch {
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    bool recursive = false;
    std::string_view path;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.uid) && a(s.gid) && a(s.recursive) && a(s.path); }
};

struct ConnectPort {  // 127.0.0.1 first, then ::1
    std::uint16_t port = 0;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.port); }
};

// Encodes header and body; 0 when the buffer is too small.
template <class Body>
[[nodiscard]] std::size_t encode(std::byte* buffer, std::size_t capacity, Type type, std::uint32_t request, const Body& body) {
    wire::Writer writer{buffer, capacity};
    Header header;
    header.type = type;
    header.request = request;
    return writer(header) && writer(body) ? writer.size() : 0;
}

// Decodes the header; the reader then stands at the body. False for another protocol or version.
[[nodiscard]] inline bool decode_header(wire::Reader& reader, Header& header) {
    return reader(header) && header.magic == kMagic && header.version == kVersion;
}

// The whole body and nothing after it.
template <class Body>
[[nodiscard]] bool decode_body(wire::Reader& reader, Body& body) {
    return reader(body) && reader.done();
}

}  // namespace sandboxd::agent
