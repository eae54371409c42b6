#include "sandboxd/engine/exec_table.hpp"

#include <algorithm>
#include <utility>

#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"
#include "sandboxd/engine/tasks.hpp"

namespace sandboxd::engine {

namespace {

// The agent answers once the program has been exec'd, which needs the kernel and the jail's disk, not the program.
constexpr auto kLaunchTime = std::chrono::seconds{30};
constexpr auto kForgetTime = std::chrono::seconds{10};
constexpr std::size_t kMaxLingering = 64;  // of the agent's 256 places

}  // namespace

// One exec on its way. Shared with the caller, who may go away before there is an answer.
struct ExecTable::Launch {
    Launch(asio::any_io_executor executor, ExecLaunch p) : plan{std::move(p)}, done{std::move(executor)} {}
    ExecLaunch plan;
    std::optional<Result<ExecPtr>> result;
    bool abandoned = false;
    Event done;
};

ExecTable::ExecTable(Services& services, ExecOwner& owner, std::shared_ptr<AgentClient> agent, TaskGroup& tasks)
    : services_{services},
      owner_{owner},
      agent_{std::move(agent)},
      tasks_{tasks},
      budget_{std::make_shared<SpoolBudget>(services.config.spool_bytes_per_sandbox)} {
    budget_->on_full = [this] { (void)drop_oldest(); };
}

ExecTable::~ExecTable() { budget_->on_full = nullptr; }  // sessions may keep streams, and with them the budget

// ---- start -----------------------------------------------------------------------------------------------------------

asio::awaitable<Result<ExecPtr>> ExecTable::start(ExecRequest request, Deadline deadline) {
    const std::size_t living = running_ + launching_.size();
    if (living >= services_.config.execs_per_sandbox) {
        co_return Error{Errc::limit_exceeded, "exec", "as many programs run in this sandbox as may"}
            .fact("limit", std::string{"execs"})
            .fact("asked", static_cast<std::int64_t>(living + 1))
            .fact("allowed", std::int64_t{services_.config.execs_per_sandbox});
    }
    const policies::TenantLimits ceiling = services_.ceiling(owner_.owner_record().tenant);
    SBX_CO_TRY(ExecLaunch plan, plan_exec(request, owner_.owner_record(), ceiling, next_));
    ++next_;
    launching_.insert(plan.number);
    const auto launched = std::make_shared<Launch>(services_.executor, std::move(plan));
    auto work = launch(launched);
    tasks_.spawn("launch", until_cancelled(std::move(work)));
    struct Abandon {
        Launch& launch;
        explicit Abandon(Launch& l) : launch{l} {}
        ~Abandon() { launch.abandoned = true; }
    } abandon{*launched};
    while (!launched->result) SBX_CO_CHECK(co_await launched->done.wait(deadline));
    co_return *launched->result;
}

// Not the caller's coroutine: a program that was started must be known here whether or not the caller still waits.
asio::awaitable<void> ExecTable::launch(std::shared_ptr<Launch> launch) {
    struct Began {
        ExecTable& table;
        std::uint64_t number;
        bool handed_over = false;
        Began(ExecTable& t, std::uint64_t n) : table{t}, number{n} { table.owner_.exec_began(); }
        ~Began() {
            table.launching_.erase(number);
            table.early_exits_.erase(number);
            table.early_denials_.erase(number);
            if (!handed_over) table.owner_.exec_ended();
        }
    } began{*this, launch->plan.number};
    auto asked = co_await ask_agent(launch);
    if (!asked) {
        launch->result = exec_failure(std::move(asked).error(), launch->plan.program, launch->plan.cwd);
        launch->done.notify();
        co_return;
    }
    const Entry exec = *asked;
    began.handed_over = true;
    started(exec);
    if (launch->abandoned) discard(exec->number());  // nobody knows of it; its end is worked off as any other's
    launch->result = ExecPtr{exec};
    launch->done.notify();
    if (const auto early = early_exits_.find(exec->number()); early != early_exits_.end()) (void)exec_exited(early->second);
}

asio::awaitable<Result<ExecTable::Entry>> ExecTable::ask_agent(std::shared_ptr<Launch> launch) {
    const ExecLaunch& plan = launch->plan;
    ledger::ExecRecord record;
    record.sandbox = owner_.owner_record().id;
    record.number = plan.number;
    record.command = plan.command;
    record.cwd = plan.cwd;
    record.user = plan.user.name;
    record.pty = plan.pty();
    record.timeout_ms = plan.timeout_ms;
    record.output_limit = plan.output_bytes;
    record.on_output_limit = plan.on_output_limit == OverLimit::block ? "block" : "truncate";
    record.started = system_clock().wall();
    SBX_CO_TRY(Entry exec, make(std::move(record)));
    struct Remove {
        ExecImpl* exec;
        int folder;
        Remove(ExecImpl* e, int f) : exec{e}, folder{f} {}
        ~Remove() {
            if (exec == nullptr) return;
            exec->streams().out->unlink(folder);
            exec->streams().err->unlink(folder);
        }
    } remove{exec.get(), folder_.get()};

    Fd files;
    if (plan.with_files()) {
        const auto made = std::make_shared<Result<Fd>>(Fd{});
        std::function<void()> work = [launch, made] { *made = sys::memfd("exec-files", launch->plan.files); };
        co_await services_.pools.spill.run(std::move(work));
        SBX_CO_TRY(files, std::move(*made));
    }
    auto request = agent_->request(agent::Type::exec, plan.message(), std::move(files), Deadline::after(kLaunchTime));
    auto answered = co_await std::move(request);
    if (!answered) {
        // It may have been started nevertheless.
        if (!answered.error().is(Errc::gone)) discard(plan.number);
        co_return std::move(answered).error();
    }
    auto confirmed = answered->expect<agent::ExecStarted>(agent::Type::exec_started, answered->fds.size(), "exec");
    if (!confirmed) co_return std::move(confirmed).error();
    auto attached = confirmed->exec == plan.number ? exec->attach(plan.flags, std::move(answered->fds)) : AgentReply::malformed("exec");
    if (!attached) {
        discard(plan.number);
        co_return std::move(attached).error();
    }
    remove.exec = nullptr;
    co_return exec;
}

Result<ExecTable::Entry> ExecTable::make(ledger::ExecRecord record) {
    SpillSettings settings;
    settings.limit = record.output_limit;
    settings.mode = record.on_output_limit == "block" ? OverLimit::block : OverLimit::truncate;
    const std::string name = std::to_string(record.number);
    ExecImpl::Streams streams;
    settings.dropped = record.out_dropped;
    SBX_TRY(streams.out, Spill::open(services_.executor, services_.pools, budget_, folder_.get(), name + ".out", settings));
    settings.dropped = record.err_dropped;
    SBX_TRY(streams.err, Spill::open(services_.executor, services_.pools, budget_, folder_.get(), name + ".err", settings));
    return std::make_shared<ExecImpl>(services_.executor, services_.pools, std::move(record), std::move(streams), agent_, services_.config.price_book);
}

void ExecTable::started(const Entry& exec) {
    execs_.emplace(exec->number(), exec);
    ++running_;
    ++services_.execs_started;
    ++services_.execs_running;
    exec->set_meter(owner_.meter().begin(exec->number(), {}, system_clock().steady()));
    take_early_denials(exec);
    begin_counting(exec);
    pump(exec);
    (void)record(exec);  // behind the answer: a crash in between leaves an exec that synced() adopts by its spill file
}

void ExecTable::pump(const Entry& exec) {
    for (const auto& stream : {exec->streams().out, exec->streams().err}) {
        if (!stream->attached()) continue;
        auto work = stream->pump();
        tasks_.spawn("output", until_cancelled(std::move(work)));
    }
}

Store::Ticket ExecTable::record(const Entry& exec) {
    const ledger::ExecRecord& now = exec->record();
    exec->dropped_recorded = now.out_dropped + now.err_dropped;
    return services_.store.put([now](ledger::Records& records) { return records.put_exec(now); });
}

void ExecTable::record_progress() {
    for (const auto& [number, exec] : execs_) {
        const auto dropped = exec->streams().out->dropped() + exec->streams().err->dropped();
        if (dropped != exec->dropped_recorded) (void)record(exec);
    }
}

// ---- look up ---------------------------------------------------------------------------------------------------------

Result<ExecPtr> ExecTable::find(const ExecId& id) const {
    SBX_TRY(const std::uint64_t number, exec_number(id.str()));
    const auto found = execs_.find(number);
    if (found != execs_.end()) return ExecPtr{found->second};
    if (number < next_ && number > 0 && !launching_.contains(number)) {
        return Error{Errc::not_found, "exec", id.str() + " is not kept any more, or was never started"};
    }
    return Error{Errc::not_found, "exec", id.str() + " does not exist"};
}

std::vector<ExecPtr> ExecTable::all() const {
    std::vector<ExecPtr> out;
    out.reserve(execs_.size());
    for (const auto& [number, exec] : execs_) out.push_back(exec);
    return out;
}

// ---- end -------------------------------------------------------------------------------------------------------------

bool ExecTable::exec_exited(const agent::ExecState& state) {
    if (state.kind != agent::ExitKind::exited && state.kind != agent::ExitKind::signaled) return false;
    if (const auto found = execs_.find(state.exec); found != execs_.end()) {
        const Entry& exec = found->second;
        if (exec->status() != ExecStatus::running || exec->finishing) return false;
        exec->finishing = true;
        auto work = finish(exec, state);
        tasks_.spawn("finish", until_cancelled(std::move(work)));
        return true;
    }
    if (launching_.contains(state.exec)) return early_exits_.emplace(state.exec, state).second;
    if (!discarded_.contains(state.exec)) return false;
    auto work = forget(state.exec);
    tasks_.spawn("forget", until_cancelled(std::move(work)));
    return true;
}

asio::awaitable<void> ExecTable::finish(Entry exec, agent::ExecState state) {
    co_await exec->streams().out->settle();
    co_await exec->streams().err->settle();
    // The last reading, while the leaf is there: forget() lets the init remove it.
    const auto look = std::make_shared<LastLook>();
    const auto counters = owner_.counters();
    const std::uint64_t number = exec->number();
    if (counters) {
        std::function<void()> work = [look, counters, number] {
            look->readings = read_counters(*counters, {number});
            look->oom_kills = counters->oom_kills(number);
            look->forks_refused = counters->forks_refused();
            look->own_forks_refused = counters->forks_refused(number);
        };
        co_await services_.pools.spill.run(std::move(work));
        owner_.meter().apply(look->readings);
    }
    co_await explain_end(exec, state, *look);
    if (exec->status() != ExecStatus::running) co_return;  // the sandbox has ended meanwhile
    const ExecEnd how = end_of(state, look->oom_kills, exec->started(), system_clock().wall());
    std::vector<ledger::Sample> rows;
    end(exec, how, rows);
    rows.push_back(owner_.meter().sandbox_row(system_clock().wall(), SandboxMeter::Last::no));
    (void)services_.store.append(std::move(rows));
    const Store::Ticket recorded = record(exec);
    co_await linger(exec, recorded);
}

void ExecTable::end(const Entry& exec, const ExecEnd& how, std::vector<ledger::Sample>& rows) {
    ledger::Sample last = owner_.meter().end(exec->number(), system_clock().wall());
    exec->end(how, last.counters);
    rows.push_back(std::move(last));
    --running_;
    --services_.execs_running;
    owner_.exec_ended();
    if (services_.exec_ended) services_.exec_ended();
    drop_old();
}

// Forgetting closes the init's copies of the pipes and removes the leaf: not before the figures are safe, and not while
// a program in the background still writes (a crash of this process would then break its pipe).
asio::awaitable<void> ExecTable::linger(Entry exec, Store::Ticket recorded) {
    struct Lingering {
        ExecTable& table;
        Entry exec;
        Lingering(ExecTable& t, Entry e) : table{t}, exec{std::move(e)} {
            exec->lingering = true;
            ++table.lingering_;
        }
        ~Lingering() {
            exec->lingering = false;
            --table.lingering_;
        }
    } lingering{*this, exec};
    shed_lingering();
    (void)co_await services_.store.flushed(recorded);  // the store keeps what it can't write yet, and says so itself
    if (auto ok = co_await exec->streams().out->until_hung_up(); !ok) co_return;
    if (auto ok = co_await exec->streams().err->until_hung_up(); !ok) co_return;
    co_await forget(exec->number());
    drop_old();
}

// Programs in the background hold places of the agent's table. The oldest lose their output.
void ExecTable::shed_lingering() {
    if (lingering_ <= kMaxLingering) return;
    for (const auto& [number, exec] : execs_) {
        if (!exec->lingering || exec->hung_up()) continue;
        log::info("output of programs in the background is not taken any more", {{"sandbox", owner_.owner_record().id.str()}, {"exec", number}});
        exec->streams().out->close();
        exec->streams().err->close();
        return;
    }
}

asio::awaitable<void> ExecTable::forget(std::uint64_t number) {
    discarded_.erase(number);
    agent::ExecRef ref;
    ref.exec = number;
    auto request = agent_->command(agent::Type::forget, ref, "forget", Deadline::after(kForgetTime));
    auto forgotten = co_await std::move(request);
    // Not lost: the next sync shows it again.
    if (!forgotten && !forgotten.error().is(Errc::gone)) log::debug("an exec was not forgotten", {{"exec", number}, {"error", forgotten.error()}});
}

void ExecTable::discard(std::uint64_t number) {
    if (!execs_.contains(number)) discarded_.insert(number);
    auto work = kill_and_forget(number);
    tasks_.spawn("discard", until_cancelled(std::move(work)));
}

asio::awaitable<void> ExecTable::kill_and_forget(std::uint64_t number) {
    agent::Signal kill;
    kill.exec = number;
    kill.signal = 9;
    kill.scope = agent::SignalScope::tree;
    auto request = agent_->command(agent::Type::signal, kill, "signal", Deadline::after(kForgetTime));
    auto killed = co_await std::move(request);
    if (!killed) discarded_.erase(number);  // there is no such exec, or the next sync shows it again
}

void ExecTable::sandbox_ended(ExecStatus how, std::vector<ledger::Sample>& rows) {
    const std::map<std::uint64_t, Entry> execs = execs_;
    for (const auto& [number, exec] : execs) {
        exec->streams().out->close();
        exec->streams().err->close();
        if (exec->status() != ExecStatus::running) continue;
        ExecEnd ended;
        ended.status = how;
        ended.time = system_clock().wall();
        if (how == ExecStatus::signaled) {
            ended.signal = 9;
            ended.exit_code = 128 + 9;
        }
        end(exec, ended, rows);
        (void)record(exec);
    }
}

asio::awaitable<void> ExecTable::drain() {
    const std::map<std::uint64_t, Entry> execs = execs_;
    for (const auto& [number, exec] : execs) {
        if (exec->status() != ExecStatus::running) continue;
        co_await exec->streams().out->settle();
        co_await exec->streams().err->settle();
    }
}

void ExecTable::drop_old() {
    std::size_t finished = 0;
    for (const auto& [number, exec] : execs_) finished += exec->status() != ExecStatus::running && !exec->lingering ? 1U : 0U;
    for (; finished > services_.config.finished_execs_kept; --finished) {
        if (!drop_oldest()) return;
    }
}

bool ExecTable::drop_oldest() {
    const auto oldest = std::find_if(execs_.begin(), execs_.end(), [](const auto& item) {
        return item.second->status() != ExecStatus::running && !item.second->lingering;
    });
    if (oldest == execs_.end()) return false;
    oldest->second->streams().out->unlink(folder_.get());
    oldest->second->streams().err->unlink(folder_.get());
    execs_.erase(oldest);
    return true;
}

}  // namespace sandboxd::engine
