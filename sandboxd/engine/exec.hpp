#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "policies/denial.hpp"
#include "sandboxd/core/clock.hpp"
#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/output.hpp"
#include "sandboxd/ledger/usage.hpp"

namespace sandboxd::engine {

namespace asio = boost::asio;

struct User {
    std::uint32_t uid = 1000;
    std::uint32_t gid = 1000;
    std::string name = "user";
    std::string home = "/home/user";
};
// "user", "root", "UID" or "UID:GID" (strict decimal, below 65534). Names are not looked up in the jail's /etc/passwd.
[[nodiscard]] Result<User> parse_user(std::string_view text);

enum class StdinMode { closed, pipe };

struct FileToWrite {
    std::string path;  // relative: to cwd
    std::uint32_t mode = 0644;
    std::string content;
};

struct ExecRequest {
    std::vector<std::string> argv;
    std::vector<std::pair<std::string, std::string>> env;  // over the sandbox's env, over the defaults
    std::string cwd;                                       // empty: the user's home
    User user;
    StdinMode stdin_mode = StdinMode::closed;
    std::uint64_t timeout_ms = 60'000;                     // 0: none beyond the tenant's ceiling
    bool pty = false;
    std::uint16_t rows = 24;
    std::uint16_t cols = 80;
    std::optional<std::uint64_t> output_bytes;             // cap per stream; none: the sandbox's
    OverLimit on_output_limit = OverLimit::truncate;
    std::vector<FileToWrite> files;                        // written as the user before the program starts
};

enum class ExecStatus { running, exited, signaled, oom_killed, timed_out, limit, lost };
[[nodiscard]] std::string_view to_string(ExecStatus status) noexcept;

enum class SignalScope { process, group, tree };

// One program run in a sandbox, from start until it is forgotten. Shared between the sandbox that holds it and the
// sessions that look at it. One thread.
class Exec {
public:
    virtual ~Exec() = default;

    [[nodiscard]] virtual const ExecId& id() const = 0;
    [[nodiscard]] virtual ExecStatus status() const = 0;
    [[nodiscard]] virtual std::string command() const = 0;   // for people, at most 1 KiB
    [[nodiscard]] virtual std::string user() const = 0;
    [[nodiscard]] virtual std::string cwd() const = 0;
    [[nodiscard]] virtual bool pty() const = 0;
    [[nodiscard]] virtual WallTime started() const = 0;
    [[nodiscard]] virtual std::optional<WallTime> ended() const = 0;
    [[nodiscard]] virtual std::int32_t exit_code() const = 0;  // 128+signal when signaled, as shells say it
    [[nodiscard]] virtual std::int32_t signal() const = 0;     // 0 unless signaled
    [[nodiscard]] virtual Output& out() = 0;                   // the terminal's output with pty
    [[nodiscard]] virtual Output& err() = 0;
    // Figures as of the last second while it runs, final when it has ended.
    [[nodiscard]] virtual ledger::Usage usage() const = 0;
    // What it was refused. While it runs: system calls, counted up to the last one of a new kind.
    [[nodiscard]] virtual policies::Denials denials() const = 0;

    // Completes when the program has ended and what it wrote has reached the files. Processes that it left in the
    // background may go on; what they write later is still taken. Cancelling the wait changes nothing for the program.
    [[nodiscard]] virtual asio::awaitable<Result<void>> wait(Deadline deadline) = 0;

    // Waits while the pipe is full. unavailable when stdin is closed or was never a pipe.
    [[nodiscard]] virtual asio::awaitable<Result<void>> write_stdin(std::string data, Deadline deadline) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<void>> close_stdin(Deadline deadline) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<void>> resize(std::uint16_t rows, std::uint16_t cols, Deadline deadline) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<void>> send_signal(int signal, SignalScope scope, Deadline deadline) = 0;
};

using ExecPtr = std::shared_ptr<Exec>;

}  // namespace sandboxd::engine
