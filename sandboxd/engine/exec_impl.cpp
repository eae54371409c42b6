#include "sandboxd/engine/exec_impl.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "sandboxd/core/sys_io.hpp"

namespace sandboxd::engine {

namespace {

ExecStatus status_from(std::string_view text) {
    for (const ExecStatus status : {ExecStatus::running, ExecStatus::exited, ExecStatus::signaled, ExecStatus::oom_killed,
                                    ExecStatus::timed_out, ExecStatus::limit}) {
        if (text == to_string(status)) return status;
    }
    return ExecStatus::lost;
}

Error exec_request_error(Error error) {
    if (error.is_errno(ESRCH)) return Error{Errc::conflict, "exec", "the program has ended"};
    return error;
}

}  // namespace

ExecEnd end_of(const agent::ExecState& state, std::uint64_t oom_kills, WallTime started, WallTime now) {
    ExecEnd out;
    const bool signaled = state.kind == agent::ExitKind::signaled;
    if (signaled) {
        out.signal = std::clamp(state.status, 1, 64);
        out.exit_code = 128 + out.signal;
        out.status = ExecStatus::signaled;
    } else {
        out.exit_code = state.status & 0xff;
        out.status = ExecStatus::exited;
    }
    // A program that ends well has coped with the loss of a child.
    if (oom_kills > 0 && out.exit_code != 0) out.status = ExecStatus::oom_killed;
    if (state.timed_out) out.status = ExecStatus::timed_out;
    const auto ago = sys::boot_time() - std::chrono::nanoseconds{std::min<std::uint64_t>(state.ended_ns, INT64_MAX)};
    const auto bounded = std::clamp<std::chrono::nanoseconds>(ago, std::chrono::nanoseconds{0}, std::max(now - started, std::chrono::nanoseconds{0}));
    out.time = now - bounded;
    return out;
}

ExecImpl::ExecImpl(asio::any_io_executor executor, IoPools& pools, ledger::ExecRecord record, Streams streams,
                   std::shared_ptr<AgentClient> agent, const policies::PriceBook& prices)
    : id_{exec_id_from_number(record.number)},
      record_{std::move(record)},
      status_{status_from(record_.status)},
      streams_{std::move(streams)},
      stdin_{executor, pools},
      agent_{std::move(agent)},
      prices_{prices},
      ended_{executor} {}

ledger::Usage ExecImpl::usage() const { return ledger::price(meter_ ? meter_->counters() : figures_, prices_); }

Result<void> ExecImpl::attach(std::uint32_t flags, std::vector<Fd> fds) {
    const bool terminal = (flags & agent::kPty) != 0;
    if (terminal != record_.pty) return AgentReply::malformed("exec");
    return terminal ? attach_terminal(std::move(fds)) : attach_pipes(flags, std::move(fds));
}

Result<void> ExecImpl::attach_pipes(std::uint32_t flags, std::vector<Fd> fds) {
    const bool with_stdin = (flags & agent::kStdin) != 0;
    if (fds.size() != (with_stdin ? 3U : 2U)) return AgentReply::malformed("exec");
    for (const Fd& fd : fds) SBX_CHECK(check_pipe(fd));
    streams_.out->attach(SpillSource::pipe(std::move(fds[0])));
    streams_.err->attach(SpillSource::pipe(std::move(fds[1])));
    if (with_stdin) stdin_.open(std::move(fds[2]), ExecStdin::Kind::pipe);
    return {};
}

Result<void> ExecImpl::attach_terminal(std::vector<Fd> fds) {
    if (fds.size() != 3) return AgentReply::malformed("exec");
    SBX_CHECK(check_terminal(fds[0]));
    SBX_CHECK(check_pipe(fds[1]));
    SBX_CHECK(check_pipe(fds[2]));
    // A descriptor of its own for writing: one can be waited for in one direction only.
    SBX_TRY(Fd input, sys::dup(fds[0].get()));
    streams_.out->attach(SpillSource::terminal(std::move(fds[0]), std::move(fds[1]), std::move(fds[2])));
    stdin_.open(std::move(input), ExecStdin::Kind::terminal);
    return {};
}

void ExecImpl::end(const ExecEnd& how, const ledger::Counters& figures) {
    status_ = how.status;
    record_.status = std::string{to_string(how.status)};
    record_.exit_code = how.exit_code;
    record_.signal = how.signal;
    record_.ended = how.time;
    figures_ = figures;
    meter_ = nullptr;
    stdin_.close();
    ended_.notify();
}

const ledger::ExecRecord& ExecImpl::record() {
    record_.out_dropped = streams_.out->dropped();
    record_.err_dropped = streams_.err->dropped();
    return record_;
}

asio::awaitable<Result<void>> ExecImpl::wait(Deadline deadline) {
    const auto self = shared_from_this();
    while (status_ == ExecStatus::running) SBX_CO_CHECK(co_await ended_.wait(deadline));
    co_return Result<void>{};
}

Result<void> ExecImpl::check_running() const {
    if (status_ == ExecStatus::running) return {};
    return Error{Errc::conflict, "exec", "the program has ended"}.fact("status", std::string{to_string(status_)});
}

asio::awaitable<Result<void>> ExecImpl::write_stdin(std::string data, Deadline deadline) {
    const auto self = shared_from_this();
    co_return co_await stdin_.write(std::move(data), deadline);
}

asio::awaitable<Result<void>> ExecImpl::close_stdin(Deadline deadline) {
    const auto self = shared_from_this();
    if (record_.pty) co_return Error{Errc::invalid_argument, "stdin", "a terminal's input can't be closed; send it an end-of-file character"};
    if (!stdin_.is_open()) co_return Result<void>{};
    stdin_.close();
    agent::ExecRef ref;
    ref.exec = number();
    auto closing = agent_->command(agent::Type::close_stdin, ref, "close stdin", deadline);
    auto closed = co_await std::move(closing);
    if (!closed) co_return exec_request_error(std::move(closed).error());
    co_return Result<void>{};
}

asio::awaitable<Result<void>> ExecImpl::resize(std::uint16_t rows, std::uint16_t cols, Deadline deadline) {
    const auto self = shared_from_this();
    if (!record_.pty) co_return Error{Errc::invalid_argument, "resize", "the program has no terminal"};
    SBX_CO_CHECK(check_running());
    agent::Resize body;
    body.exec = number();
    body.rows = rows;
    body.cols = cols;
    auto resizing = agent_->command(agent::Type::resize, body, "resize", deadline);
    auto resized = co_await std::move(resizing);
    if (!resized) co_return exec_request_error(std::move(resized).error());
    co_return Result<void>{};
}

asio::awaitable<Result<void>> ExecImpl::send_signal(int signal, engine::SignalScope scope, Deadline deadline) {
    const auto self = shared_from_this();
    if (signal < 1 || signal > 64) co_return Error{Errc::invalid_argument, "signal", "signals are 1 to 64"};
    // What the program left in the background can be signalled for as long as its agent holds the exec.
    if (scope != engine::SignalScope::tree) SBX_CO_CHECK(check_running());
    agent::Signal body;
    body.exec = number();
    body.signal = signal;
    body.scope = static_cast<agent::SignalScope>(scope);
    auto sending = agent_->command(agent::Type::signal, body, "signal", deadline);
    auto sent = co_await std::move(sending);
    if (!sent) co_return exec_request_error(std::move(sent).error());
    co_return Result<void>{};
}

}  // namespace sandboxd::engine
