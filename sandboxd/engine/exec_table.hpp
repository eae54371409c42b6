#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sandboxd/core/async.hpp"
#include "sandboxd/engine/agent_client.hpp"
#include "sandboxd/engine/exec_impl.hpp"
#include "sandboxd/engine/exec_launch.hpp"
#include "sandboxd/engine/services.hpp"

namespace sandboxd::engine {

// What the execs of a sandbox need of it.
class ExecOwner {
public:
    virtual ~ExecOwner() = default;
    // Balanced: while one is open the sandbox's time does not run.
    virtual void exec_began() = 0;
    virtual void exec_ended() = 0;
    [[nodiscard]] virtual std::shared_ptr<const CgroupCounters> counters() const = 0;
    [[nodiscard]] virtual SandboxMeter& meter() = 0;
    [[nodiscard]] virtual const ledger::SandboxRecord& owner_record() const = 0;
};

// The execs of one sandbox: from the request to the moment when its agent may forget them. Its coroutines run in the
// sandbox's task group, which is joined before the table goes. One thread.
class ExecTable {
public:
    ExecTable(Services& services, ExecOwner& owner, std::shared_ptr<AgentClient> agent, TaskGroup& tasks);
    ~ExecTable();

    // The folder for spill files. Once, before the others.
    void set_folder(Fd folder) { folder_ = std::move(folder); }

    [[nodiscard]] asio::awaitable<Result<ExecPtr>> start(ExecRequest request, Deadline deadline);
    [[nodiscard]] Result<ExecPtr> find(const ExecId& id) const;
    [[nodiscard]] std::vector<ExecPtr> all() const;
    [[nodiscard]] std::size_t running() const noexcept { return running_; }
    [[nodiscard]] std::uint64_t spool_bytes() const noexcept { return budget_->used(); }

    // What the last life of this process recorded; before the agent is heard.
    struct Remembered {
        ledger::ExecRecord record;
        ledger::Counters counters;
    };
    void restore(std::vector<Remembered> execs);
    // From the agent, see AgentListener.
    [[nodiscard]] bool exec_exited(const agent::ExecState& state);
    void synced(std::vector<HeldExec> held);
    // No program is left: whatever still counts as running has been killed with the sandbox, or was lost with it.
    void sandbox_ended(ExecStatus how, std::vector<ledger::Sample>& rows);
    // Takes down what changed since the last time and would not survive a crash otherwise.
    void record_progress();
    // Completes when the programs' last bytes are in the files; the sandbox is dead, so this is soon.
    [[nodiscard]] asio::awaitable<void> drain();

private:
    struct Launch;
    using Exec = std::shared_ptr<ExecImpl>;

    [[nodiscard]] asio::awaitable<void> launch(std::shared_ptr<Launch> launch);
    [[nodiscard]] asio::awaitable<Result<Exec>> run(std::shared_ptr<Launch> launch);
    [[nodiscard]] Result<Exec> make(ledger::ExecRecord record);
    void register_running(const Exec& exec, const ledger::Counters& start);
    void pump(const Exec& exec);
    [[nodiscard]] asio::awaitable<void> finish(Exec exec, agent::ExecState state);
    void end(const Exec& exec, const ExecEnd& how, std::vector<ledger::Sample>& rows);
    [[nodiscard]] asio::awaitable<void> linger(Exec exec, Store::Ticket recorded);
    void lose(const Exec& exec);
    // An exec that nobody here knows: kill it, and let the agent forget it.
    void discard(std::uint64_t number);
    [[nodiscard]] asio::awaitable<void> kill_and_forget(std::uint64_t number);
    [[nodiscard]] asio::awaitable<void> forget(std::uint64_t number);
    [[nodiscard]] bool adopt(HeldExec& held);
    void take_up(const Exec& exec, HeldExec& held);
    void drop_old();
    [[nodiscard]] bool drop_oldest();
    Store::Ticket record(const Exec& exec);

    Services& services_;
    ExecOwner& owner_;
    std::shared_ptr<AgentClient> agent_;
    TaskGroup& tasks_;
    Fd folder_;
    std::shared_ptr<SpoolBudget> budget_;
    std::map<std::uint64_t, Exec> execs_;
    std::set<std::uint64_t> launching_;
    std::map<std::uint64_t, agent::ExecState> early_exits_;  // told before the launch's answer was looked at
    std::set<std::uint64_t> discarded_;
    std::uint64_t next_ = 1;
    std::size_t running_ = 0;
};

}  // namespace sandboxd::engine
