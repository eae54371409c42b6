#include "sandboxd/core/sys.hpp"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>
#include <set>

namespace sandboxd::sys {
namespace {

class TempDir {
public:
    TempDir() {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "core_test.XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        path_ = pattern;
    }
    ~TempDir() {
        std::error_code ignored;  // a leftover in the temporary folder fails no test
        std::filesystem::remove_all(path_, ignored);
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    [[nodiscard]] std::string file(const std::string& name) const {
        return (path_ / name).string();
    }
    [[nodiscard]] std::size_t entries() const {
        return static_cast<std::size_t>(
            std::distance(std::filesystem::directory_iterator{path_}, {}));
    }

private:
    std::filesystem::path path_;
};

std::string content(const std::string& path) {
    const auto text = read_file(path);
    REQUIRE(text);
    return *text;
}

bool closes_on_exec(int fd) {
    return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

TEST_CASE("descriptors are closed on exec, also copies and those of memfd") {
    const auto fd = open("/dev/null", O_RDONLY);
    REQUIRE(fd);
    CHECK(closes_on_exec(fd->get()));
    const auto copy = dup(fd->get());
    REQUIRE(copy);
    CHECK(copy->get() >= 3);
    CHECK(closes_on_exec(copy->get()));
    const auto memory = memfd("test", "content");
    REQUIRE(memory);
    CHECK(closes_on_exec(memory->get()));
}

TEST_CASE("an error names the call, the path and the reason") {
    const auto result = open("/no/such/file", O_RDONLY);
    REQUIRE(!result);
    CHECK(result.error().is_errno(ENOENT));
    CHECK(result.error().message() == "open: /no/such/file: No such file or directory");
}

TEST_CASE("a file is replaced as a whole: content, mode, and no leftover") {
    const TempDir dir;
    const std::string path = dir.file("state");
    REQUIRE(write_file_atomic(path, "first"));
    CHECK(content(path) == "first");
    auto st = statat(AT_FDCWD, path.c_str());
    REQUIRE(st);
    CHECK((st->st_mode & 07777) == 0600);
    const ino_t first = st->st_ino;
    const auto reader = open(path, O_RDONLY);
    REQUIRE(reader);

    const std::string large(300'000, 'x');
    REQUIRE(write_file_atomic(path, large, 0644));
    CHECK(content(path) == large);
    st = statat(AT_FDCWD, path.c_str());
    REQUIRE(st);
    CHECK((st->st_mode & 07777) == 0644);
    CHECK(st->st_ino != first);
    CHECK(dir.entries() == 1);
    // Who had the old one open still reads the old one.
    std::array<std::byte, 16> buffer{};
    const auto read = read_some(reader->get(), buffer);
    REQUIRE(read);
    CHECK(*read == 5);

    REQUIRE(write_file_atomic(path, ""));
    CHECK(content(path).empty());
}

TEST_CASE("the umask does not change the mode that was asked for") {
    const TempDir dir;
    const mode_t before = ::umask(0077);
    const auto written = write_file_atomic(dir.file("shared"), "x", 0664);
    ::umask(before);
    REQUIRE(written);
    const auto st = statat(AT_FDCWD, dir.file("shared").c_str());
    REQUIRE(st);
    CHECK((st->st_mode & 07777) == 0664);
}

TEST_CASE(
    "a replacement that fails leaves the old file, and a leftover of a crash is no obstacle") {
    const TempDir dir;
    const std::string path = dir.file("state");
    REQUIRE(write_file_atomic(path, "old"));
    CHECK(!write_file_atomic(dir.file("missing/state"), "new"));
    CHECK(content(path) == "old");
    REQUIRE(write_file_atomic(path + ".new", "half written by a process that died"));
    REQUIRE(write_file_atomic(path, "new"));
    CHECK(content(path) == "new");
    CHECK(dir.entries() == 1);
}

TEST_CASE("the temporary file is not written through a symbolic link") {
    const TempDir dir;
    const std::string victim = dir.file("victim");
    REQUIRE(write_file_atomic(victim, "untouched"));
    std::filesystem::create_symlink(victim, dir.file("state.new"));
    CHECK(!write_file_atomic(dir.file("state"), "attack"));
    CHECK(content(victim) == "untouched");
}

TEST_CASE("a file is read up to its limit and not one byte more") {
    const TempDir dir;
    const std::string path = dir.file("data");
    REQUIRE(write_file_atomic(path, std::string(10'000, 'y')));
    CHECK(read_file(path, 10'000)->size() == 10'000);
    const auto too_large = read_file(path, 9'999);
    REQUIRE(!too_large);
    CHECK(too_large.error().is(Errc::payload_too_large));
    CHECK(!read_file(dir.file("none")));
    // procfs has no size to go by.
    CHECK(read_file("/proc/self/stat")->size() > 20);
}

TEST_CASE("a folder that is there already is fine, and something else of its name is not") {
    const TempDir dir;
    REQUIRE(ensure_dir(dir.file("a"), 0750));
    const auto st = statat(AT_FDCWD, dir.file("a").c_str());
    REQUIRE(st);
    CHECK((st->st_mode & 07777) == 0750);
    REQUIRE(ensure_dir(dir.file("a"), 0700));
    std::filesystem::create_directory_symlink(dir.file("a"), dir.file("link"));
    CHECK(ensure_dir(dir.file("link"), 0700));
    REQUIRE(write_file_atomic(dir.file("f"), ""));
    const auto file = ensure_dir(dir.file("f"), 0700);
    REQUIRE(!file);
    CHECK(file.error().is_errno(ENOTDIR));
    CHECK(!ensure_dir(dir.file("b/c"), 0700));
}

TEST_CASE("a sealed memfd can be read by many and changed by nobody") {
    const auto memory = memfd("plan", "content");
    REQUIRE(memory);
    std::array<std::byte, 16> buffer{};
    const auto n = read_some(memory->get(), buffer);
    REQUIRE(n);
    CHECK(*n == 7);
    CHECK(!write_all(memory->get(), buffer));
    CHECK(::ftruncate(memory->get(), 0) == -1);
}

TEST_CASE("a message carries descriptors, closed on exec, and keeps its bounds") {
    const auto pair = seqpacket_pair();
    REQUIRE(pair);
    const auto memory = memfd("a", "hello");
    REQUIRE(memory);
    const std::array<int, 2> fds{memory->get(), memory->get()};
    const std::array<std::byte, 3> data{std::byte{1}, std::byte{2}, std::byte{3}};
    REQUIRE(send_message(pair->first.get(), data, fds));
    REQUIRE(send_message(pair->first.get(), std::span{data}.first(1)));
    std::array<std::byte, 64> buffer{};
    auto received = receive_message(pair->second.get(), buffer);
    REQUIRE(received);
    CHECK(received->size == 3);
    CHECK(buffer[2] == std::byte{3});
    REQUIRE(received->fds.size() == 2);
    CHECK(closes_on_exec(received->fds[0].get()));
    CHECK(received->fds[0].get() != received->fds[1].get());
    received = receive_message(pair->second.get(), buffer);
    REQUIRE(received);
    CHECK(received->size == 1);
    CHECK(received->fds.empty());
    const auto empty = receive_message(pair->second.get(), buffer);
    REQUIRE(!empty);
    CHECK(empty.error().is_errno(EAGAIN));
}

TEST_CASE("a message that does not fit is an error, and its descriptors are closed") {
    const auto pair = seqpacket_pair();
    REQUIRE(pair);
    std::array<int, 2> pipe{};
    REQUIRE(::pipe2(pipe.data(), O_CLOEXEC | O_NONBLOCK) == 0);
    const Fd read_end{pipe[0]};
    {
        const Fd write_end{pipe[1]};
        const std::array<int, 1> fds{write_end.get()};
        const std::array<std::byte, 8> data{};
        REQUIRE(send_message(pair->first.get(), data, fds));
    }
    std::array<std::byte, 4> small{};
    const auto received = receive_message(pair->second.get(), small);
    REQUIRE(!received);
    CHECK(received.error().is(Errc::protocol_error));
    // The last write end is gone: the pipe is at its end and not merely empty.
    std::array<std::byte, 1> byte{};
    const auto end = read_some(read_end.get(), byte);
    REQUIRE(end);
    CHECK(*end == 0);
}

TEST_CASE("a peer that has hung up is told from a message, and sending to it is no signal") {
    auto pair = seqpacket_pair();
    REQUIRE(pair);
    pair->first.reset();
    std::array<std::byte, 4> buffer{};
    const auto received = receive_message(pair->second.get(), buffer);
    REQUIRE(received);
    CHECK(received->size == 0);
    const auto sent = send_message(pair->second.get(), buffer);
    REQUIRE(!sent);
    CHECK(sent.error().is_errno(EPIPE));
    const std::array<int, kMaxFdsPerMessage + 1> many{};
    CHECK(send_message(pair->second.get(), buffer, many).error().is(Errc::invalid_argument));
}

// A child that waits until it is killed. The daemon never forks, but a test program of one thread
// may.
pid_t waiting_child() {
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        for (;;) ::pause();
    }
    return pid;
}

TEST_CASE("a process is known by its start time, and its end is collected through its pidfd") {
    const pid_t pid = waiting_child();
    const auto identity = identify(pid);
    REQUIRE(identity);
    CHECK(identity->pid == pid);
    CHECK(identity->start_ticks > 0);
    const auto pidfd = pidfd_open(*identity);
    REQUIRE(pidfd);
    CHECK(closes_on_exec(pidfd->get()));
    ProcessIdentity earlier = *identity;
    --earlier.start_ticks;
    const auto reused = pidfd_open(earlier);
    REQUIRE(!reused);
    CHECK(reused.error().is_errno(ESRCH));
    REQUIRE(pidfd_signal(pidfd->get(), SIGKILL));
    const auto end = reap(pidfd->get());
    REQUIRE(end);
    CHECK(end->signaled);
    CHECK(end->status == SIGKILL);
    CHECK(!pidfd_signal(pidfd->get(), SIGKILL));
    CHECK(!identify(pid));
}

TEST_CASE("a command with spaces and parentheses does not confuse the start time") {
    const auto self = identify(::getpid());
    REQUIRE(self);
    const TempDir dir;
    const std::string odd = dir.file("a) R 1 (b");
    std::filesystem::copy_file("/bin/sleep", odd);
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        ::execl(odd.c_str(), "a) R 1 (b", "60", nullptr);
        ::_exit(127);
    }
    // Until the exec is done the name is ours; the name tells when it is.
    std::string stat;
    while (stat.find("(a) R 1 (b)") == std::string::npos)
        stat = content("/proc/" + std::to_string(pid) + "/stat");
    const auto identity = identify(pid);
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    REQUIRE(identity);
    CHECK(identity->start_ticks >= self->start_ticks);
    CHECK(identity->start_ticks < self->start_ticks + 60'000);
}

TEST_CASE("a lock is held by one descriptor until it is closed") {
    const TempDir dir;
    auto first = open(dir.file("lock"), O_RDWR | O_CREAT, 0600);
    const auto second = open(dir.file("lock"), O_RDWR);
    REQUIRE(first);
    REQUIRE(second);
    CHECK(*try_lock(first->get()));
    CHECK(!*try_lock(second->get()));
    first->reset();
    CHECK(*try_lock(second->get()));
    CHECK(!try_lock(-1));
}

TEST_CASE("random bytes fill any span, and differ") {
    std::set<std::string> seen;
    for (int i = 0; i < 100; ++i) {
        std::string bytes(64, '\0');
        REQUIRE(fill_random(std::as_writable_bytes(std::span{bytes})));
        CHECK(seen.insert(bytes).second);
    }
    CHECK(fill_random({}));
}

TEST_CASE("a write of more than a pipe holds goes on when it is read") {
    std::array<int, 2> pipe{};
    REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
    const Fd read_end{pipe[0]};
    Fd write_end{pipe[1]};
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        const std::string data(500'000, 'z');
        ::_exit(write_all(write_end.get(), std::as_bytes(std::span{data})) ? 0 : 1);
    }
    write_end.reset();
    std::size_t total = 0;
    std::array<std::byte, 8192> buffer{};
    for (;;) {
        const auto n = read_some(read_end.get(), buffer);
        REQUIRE(n);
        if (*n == 0) break;
        total += *n;
    }
    CHECK(total == 500'000);
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("Fd owns: moving leaves nothing behind, assigning closes what was there") {
    const auto is_open = [](int fd) { return ::fcntl(fd, F_GETFD) != -1; };
    auto first = open("/dev/null", O_RDONLY);
    auto second = open("/dev/null", O_RDONLY);
    REQUIRE(first);
    REQUIRE(second);
    const int a = first->get();
    const int b = second->get();
    Fd owner = std::move(*first);
    CHECK(!first->valid());
    CHECK(is_open(a));
    owner = std::move(*second);
    CHECK(!is_open(a));
    CHECK(is_open(b));
    Fd& same = owner;
    owner = std::move(same);
    CHECK(is_open(b));
    const int released = std::move(owner).release();
    CHECK(is_open(released));
    { const Fd last{released}; }
    CHECK(!is_open(released));
}

}  // namespace
}  // namespace sandboxd::sys
