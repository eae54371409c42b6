#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sandboxd/core/async.hpp"
#include "sandboxd/engine/admission.hpp"
#include "sandboxd/engine/agent_client.hpp"
#include "sandboxd/engine/exec_table.hpp"
#include "sandboxd/engine/files_impl.hpp"
#include "sandboxd/engine/lifetime.hpp"
#include "sandboxd/engine/sampler.hpp"
#include "sandboxd/engine/sandbox.hpp"
#include "sandboxd/engine/services.hpp"

namespace sandboxd::engine {

// One sandbox, from the node's handle to its end. Owned by the registry and by whoever looks at it; its tasks run until
// end_life() or let_go() has joined them. After that it needs nothing of the engine's any more, and every call answers
// `gone`. One thread.
class SandboxImpl final : public Sandbox,
                          public Metered,
                          private AgentListener,
                          private ExecOwner,
                          public std::enable_shared_from_this<SandboxImpl> {
public:
    // `figures`: where the ledger stands. `admission` outlives the sandbox.
    SandboxImpl(Services& services, Admission& admission, Admission::Lease lease, ledger::SandboxRecord record, ledger::Counters figures);

    // Just made by the node.
    [[nodiscard]] Result<void> start(control::SandboxHandle handle);
    // Found alive after a restart; without a handle (the node did not give one in time) it is dialed for.
    [[nodiscard]] Result<void> recover(std::optional<control::SandboxHandle> handle, std::vector<ExecTable::Remembered> execs);
    // Completes once the agent has told what it holds. At once for a paused sandbox.
    [[nodiscard]] asio::awaitable<Result<void>> until_synced(Deadline deadline);

    // Its time is over, it was deleted, or the node lost it. Completes when it is gone: programs, figures, files. Run it
    // once, in a task that nobody cancels.
    enum class NodeSide { destroy, gone_already };
    [[nodiscard]] asio::awaitable<void> end_life(std::string reason, NodeSide node);
    [[nodiscard]] asio::awaitable<Result<void>> until_gone(Deadline deadline);
    // The process stops, the sandbox goes on: last figures recorded, tasks joined.
    [[nodiscard]] asio::awaitable<void> let_go();
    // The expiry says that it is due; what is to be done, if it really is.
    [[nodiscard]] std::optional<Lifetime::End> take_expired();
    void set_reason_gone(std::function<void()> lost) { lost_ = std::move(lost); }
    [[nodiscard]] std::uint64_t spool_bytes() const noexcept { return execs_.spool_bytes(); }

    // ---- Sandbox
    const ledger::SandboxRecord& record() const override { return record_; }
    SandboxState state() const override { return state_; }
    std::optional<WallTime> expires() const override;
    ledger::Usage usage() const override;
    asio::awaitable<Result<ExecPtr>> exec(ExecRequest request, Deadline deadline) override;
    Result<ExecPtr> find_exec(const ExecId& id) override;
    std::vector<ExecPtr> execs() override { return execs_.all(); }
    Files& files() override { return files_; }
    asio::awaitable<Result<Fd>> connect(std::uint16_t port, Deadline deadline) override;
    asio::awaitable<Result<void>> update(SandboxUpdate update, Deadline deadline) override;
    asio::awaitable<Result<void>> pause(Deadline deadline) override;
    asio::awaitable<Result<void>> resume(Deadline deadline) override;
    void touch() override;

    // ---- Metered
    const SandboxId& metered_id() const override { return record_.id; }
    std::shared_ptr<const CgroupCounters> counters() const override { return counters_; }
    SandboxMeter& meter() override { return meter_; }
    bool runs_something() const override { return execs_.running() > 0; }
    void sampled() override;

private:
    // ---- AgentListener
    bool exec_exited(const agent::ExecState& state) override;
    bool exec_refused(const agent::ExecRefusals& told) override;
    void synced(std::vector<HeldExec> held) override;
    void agent_gone() override;
    // ---- ExecOwner
    void exec_began() override;
    void exec_ended() override;
    const ledger::SandboxRecord& owner_record() const override { return record_; }

    [[nodiscard]] asio::awaitable<Result<Fd>> dial(Deadline deadline);
    void take_folders(control::SandboxHandle& handle);
    [[nodiscard]] Result<void> open_spool();
    void serve_agent(Fd socket, AgentClient::Start start);
    [[nodiscard]] Result<void> usable() const;
    [[nodiscard]] Result<void> check_update(const SandboxUpdate& update) const;
    [[nodiscard]] asio::awaitable<Result<void>> set_frozen(bool frozen, Deadline deadline);
    [[nodiscard]] asio::awaitable<void> look();
    [[nodiscard]] asio::awaitable<void> destroy_on_node();
    [[nodiscard]] asio::awaitable<void> remove_spool();
    Store::Ticket save();
    void reschedule();

    Services& services_;
    Admission& admission_;
    Admission::Lease lease_;
    ledger::SandboxRecord record_;
    SandboxState state_ = SandboxState::running;
    Lifetime lifetime_;
    SandboxMeter meter_;
    std::shared_ptr<const CgroupCounters> counters_;
    policies::PriceBook prices_;
    policies::PicoMoney charged_;
    std::function<void()> lost_;
    bool changing_ = false;  // pause, resume or limits are under way
    bool synced_ = false;
    Event changed_;
    TaskGroup tasks_;
    std::shared_ptr<AgentClient> agent_;
    ExecTable execs_;
    FilesImpl files_;
};

}  // namespace sandboxd::engine
