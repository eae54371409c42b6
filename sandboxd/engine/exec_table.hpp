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
    [[nodiscard]] bool exec_refused(const agent::ExecRefusals& told);
    void synced(std::vector<HeldExec> held);
    // No program is left: whatever still counts as running has been killed with the sandbox, or was lost with it.
    void sandbox_ended(ExecStatus how, std::vector<ledger::Sample>& rows);
    // Takes down what changed since the last time and would not survive a crash otherwise.
    void record_progress();
    // Completes when the programs' last bytes are in the files; the sandbox is dead, so this is soon.
    [[nodiscard]] asio::awaitable<void> drain();

private:
    struct Launch;
    // The kernel's counters at the end of an exec, while its leaf is there.
    struct LastLook {
        Readings readings;
        std::uint64_t oom_kills = 0;
        std::uint64_t forks_refused = 0;      // of the sandbox
        std::uint64_t own_forks_refused = 0;  // of the leaf, where the kernel counts them there
    };
    using Entry = std::shared_ptr<ExecImpl>;

    [[nodiscard]] asio::awaitable<void> launch(std::shared_ptr<Launch> launch);
    [[nodiscard]] asio::awaitable<Result<Entry>> ask_agent(std::shared_ptr<Launch> launch);
    void started(const Entry& exec);
    [[nodiscard]] Result<Entry> make(ledger::ExecRecord record);
    void pump(const Entry& exec);
    [[nodiscard]] asio::awaitable<void> finish(Entry exec, agent::ExecState state);
    void take_early_denials(const Entry& exec);
    void begin_counting(const Entry& exec);
    [[nodiscard]] asio::awaitable<void> explain_end(Entry exec, agent::ExecState state, LastLook look);
    void end(const Entry& exec, const ExecEnd& how, std::vector<ledger::Sample>& rows);
    [[nodiscard]] asio::awaitable<void> linger(Entry exec, Store::Ticket recorded);
    void lose(const Entry& exec);
    void shed_lingering();
    // An exec that nobody here knows: kill it, and let the agent forget it.
    void discard(std::uint64_t number);
    [[nodiscard]] asio::awaitable<void> kill_and_forget(std::uint64_t number);
    [[nodiscard]] asio::awaitable<void> forget(std::uint64_t number);
    [[nodiscard]] Entry adopt(const HeldExec& held);
    void restore_one(Remembered remembered);
    void take_up(const Entry& exec, HeldExec& held);
    void drop_old();
    bool drop_oldest();
    Store::Ticket record(const Entry& exec);

    Services& services_;
    ExecOwner& owner_;
    std::shared_ptr<AgentClient> agent_;
    TaskGroup& tasks_;
    Fd folder_;
    std::shared_ptr<SpoolBudget> budget_;
    std::map<std::uint64_t, Entry> execs_;
    std::set<std::uint64_t> launching_;
    std::map<std::uint64_t, agent::ExecState> early_exits_;  // told before the launch's answer was looked at
    std::map<std::uint64_t, policies::Denials> early_denials_;  // the same
    std::set<std::uint64_t> discarded_;
    static constexpr auto kDiskTime = std::chrono::seconds{2};
    std::uint64_t forks_seen_ = 0;  // as of the last look at the counter
    bool forks_known_ = false;
    std::size_t lingering_ = 0;
    std::uint64_t next_ = 1;
    std::size_t running_ = 0;
};

}  // namespace sandboxd::engine
