#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policies/price_book.hpp"
#include "sandboxd/agent/protocol.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/engine/agent_client.hpp"
#include "sandboxd/engine/exec.hpp"
#include "sandboxd/engine/exec_stdin.hpp"
#include "sandboxd/engine/meter.hpp"
#include "sandboxd/engine/spill.hpp"
#include "sandboxd/ledger/records.hpp"

namespace sandboxd::engine {

// How a program ended, as the agent tells it, made sense of.
struct ExecEnd {
    ExecStatus status = ExecStatus::lost;
    std::int32_t exit_code = 0;
    std::int32_t signal = 0;
    WallTime time;
};
// Believes nothing that can't be: codes are cut to their range, times to [started, now].
[[nodiscard]] ExecEnd end_of(const agent::ExecState& state, std::uint64_t oom_kills, WallTime started, WallTime now);

// One exec: what is known of it, its streams, and the requests that concern it alone. What happens to it is the exec
// table's business. May outlive its sandbox in a session's hands; requests then answer `gone`.
class ExecImpl final : public Exec, public std::enable_shared_from_this<ExecImpl> {
public:
    struct Streams {
        std::shared_ptr<Spill> out;
        std::shared_ptr<Spill> err;  // of a terminal: made and empty
    };
    ExecImpl(asio::any_io_executor executor, IoPools& pools, ledger::ExecRecord record, Streams streams,
             std::shared_ptr<AgentClient> agent, const policies::PriceBook& prices);

    // ---- Exec
    const ExecId& id() const override { return id_; }
    ExecStatus status() const override { return status_; }
    std::string command() const override { return record_.command; }
    std::string user() const override { return record_.user; }
    std::string cwd() const override { return record_.cwd; }
    bool pty() const override { return record_.pty; }
    WallTime started() const override { return record_.started; }
    std::optional<WallTime> ended() const override { return record_.ended; }
    std::int32_t exit_code() const override { return record_.exit_code; }
    std::int32_t signal() const override { return record_.signal; }
    Output& out() override { return *streams_.out; }
    Output& err() override { return *streams_.err; }
    ledger::Usage usage() const override;
    policies::Denials denials() const override { return record_.denials; }
    asio::awaitable<Result<void>> wait(Deadline deadline) override;
    asio::awaitable<Result<void>> write_stdin(std::string data, Deadline deadline) override;
    asio::awaitable<Result<void>> close_stdin(Deadline deadline) override;
    asio::awaitable<Result<void>> resize(std::uint16_t rows, std::uint16_t cols, Deadline deadline) override;
    asio::awaitable<Result<void>> send_signal(int signal, engine::SignalScope scope, Deadline deadline) override;

    // ---- for the exec table
    [[nodiscard]] std::uint64_t number() const noexcept { return record_.number; }
    [[nodiscard]] const Streams& streams() const noexcept { return streams_; }
    [[nodiscard]] bool hung_up() const noexcept { return streams_.out->hung_up() && streams_.err->hung_up(); }
    // Takes the descriptors that came with exec_started or exec_state. protocol_error: none of them is used.
    [[nodiscard]] Result<void> attach(std::uint32_t flags, std::vector<Fd> fds);
    void set_meter(std::shared_ptr<const Meter> meter) { meter_ = std::move(meter); }
    void set_figures(const ledger::Counters& figures) { figures_ = figures; }
    void set_denials(policies::Denials denials) { record_.denials = std::move(denials); }
    void end(const ExecEnd& how, const ledger::Counters& figures);
    // The record as it is now, with the bytes dropped so far.
    [[nodiscard]] const ledger::ExecRecord& record();

    bool finishing = false;   // its end is being worked on
    bool lingering = false;   // ended; its agent is told to forget it once nobody writes any more
    bool attached_before = false;  // in this process
    std::uint64_t dropped_recorded = 0;
    std::uint64_t forks_before = 0;  // of the sandbox, refused before this exec

private:
    [[nodiscard]] Result<void> attach_pipes(std::uint32_t flags, std::vector<Fd> fds);
    [[nodiscard]] Result<void> attach_terminal(std::vector<Fd> fds);
    [[nodiscard]] Result<void> check_running() const;

    ExecId id_;
    ledger::ExecRecord record_;
    ExecStatus status_ = ExecStatus::running;
    Streams streams_;
    ExecStdin stdin_;
    std::shared_ptr<AgentClient> agent_;
    const policies::PriceBook prices_;
    std::shared_ptr<const Meter> meter_;
    ledger::Counters figures_;
    Event ended_;
};

}  // namespace sandboxd::engine
