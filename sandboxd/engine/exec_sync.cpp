// The exec table after a restart of this process or a break of the agent's connection: what is remembered, joined with
// what the agent still holds.
#include <algorithm>
#include <utility>

#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys_io.hpp"
#include "sandboxd/engine/exec_table.hpp"
#include "sandboxd/engine/tasks.hpp"

namespace sandboxd::engine {

namespace {

bool has_file(const Fd& folder, std::uint64_t number) {
    return sys::statat(folder.get(), (std::to_string(number) + ".out").c_str()).has_value();
}

}  // namespace

void ExecTable::restore(std::vector<Remembered> execs) {
    // Finished ones beyond what is kept were dropped with their files; their rows stay until the sandbox is pruned.
    for (Remembered& remembered : execs) {
        next_ = std::max(next_, remembered.record.number + 1);
        restore_one(std::move(remembered));
    }
    drop_old();
}

void ExecTable::restore_one(Remembered remembered) {
    const bool running = remembered.record.status == to_string(ExecStatus::running);
    const std::uint64_t number = remembered.record.number;
    const WallTime started = remembered.record.started;
    if (!running && !has_file(folder_, number)) return;
    auto made = make(std::move(remembered.record));
    if (!made) {
        log::error("an exec's output can't be opened again", {{"sandbox", owner_.owner_record().id.str()}, {"exec", number}, {"error", made.error()}});
        return;
    }
    const Entry exec = *std::move(made);
    execs_.emplace(number, exec);
    if (!running) {
        exec->set_figures(remembered.counters);
        return;
    }
    ++running_;
    ++services_.execs_running;
    exec->set_meter(owner_.meter().begin(number, remembered.counters, system_clock().steady()));
    const auto age = system_clock().wall() - started;
    const auto counters = owner_.counters();
    const Reading reading = counters ? counters->exec(number) : Reading{};
    owner_.meter().resume(number, static_cast<std::uint64_t>(std::max(age, std::chrono::nanoseconds{0}).count()), reading);
    owner_.exec_began();
}

void ExecTable::synced(std::vector<HeldExec> held) {
    std::set<std::uint64_t> told;
    for (HeldExec& item : held) {
        const std::uint64_t number = item.state.exec;
        told.insert(number);
        const auto found = execs_.find(number);
        const Entry exec = found != execs_.end() ? found->second : adopt(item);
        if (exec) {
            take_up(exec, item);
        } else {
            discard(number);
            if (item.state.kind != agent::ExitKind::running) (void)exec_exited(item.state);
        }
    }
    const std::map<std::uint64_t, Entry> known = execs_;
    for (const auto& [number, exec] : known) {
        if (exec->status() == ExecStatus::running && !exec->finishing && !told.contains(number)) lose(exec);
    }
}

// An exec that was started but not recorded before this process's last life ended, told by its spill file.
ExecTable::Entry ExecTable::adopt(const HeldExec& held) {
    const std::uint64_t number = held.state.exec;
    if (number < next_ || launching_.contains(number) || discarded_.contains(number) || !has_file(folder_, number)) return nullptr;
    next_ = number + 1;
    ledger::ExecRecord record;
    record.sandbox = owner_.owner_record().id;
    record.number = number;
    record.pty = (held.state.flags & agent::kPty) != 0;
    record.output_limit = owner_.owner_record().limits.output_bytes;
    record.on_output_limit = "truncate";
    const std::chrono::nanoseconds age = sys::boot_time() - std::chrono::nanoseconds{std::min<std::uint64_t>(held.state.started_ns, INT64_MAX)};
    record.started = system_clock().wall() - std::max(age, std::chrono::nanoseconds{0});
    const Remembered remembered{record, {}};
    restore_one(remembered);
    const auto made = execs_.find(number);
    if (made == execs_.end()) return nullptr;
    (void)this->record(made->second);
    return made->second;
}

void ExecTable::take_up(const Entry& exec, HeldExec& held) {
    take_early_denials(exec);
    // Streams that are attached stay as they are: what comes along are other descriptors of the same pipes.
    if (!exec->attached_before) {
        auto attached = exec->attach(held.state.flags, std::move(held.fds));
        if (!attached) {
            log::error("an exec's output is lost: the agent gave wrong descriptors", {{"exec", exec->number()}, {"error", attached.error()}});
        }
        pump(exec);
    }
    if (held.state.kind == agent::ExitKind::running) return;
    if (exec->status() == ExecStatus::running) {
        (void)exec_exited(held.state);
    } else if (!exec->lingering) {
        exec->lingering = true;  // from now on, not only once the task runs
        auto work = linger(exec, 0);
        tasks_.spawn("linger", until_cancelled(std::move(work)));
    }
}

void ExecTable::lose(const Entry& exec) {
    log::warn("an exec is lost: its agent does not know it", {{"sandbox", owner_.owner_record().id.str()}, {"exec", exec->number()}});
    ExecEnd how;
    how.status = ExecStatus::lost;
    how.time = system_clock().wall();
    exec->streams().out->close();
    exec->streams().err->close();
    std::vector<ledger::Sample> rows;
    end(exec, how, rows);
    (void)services_.store.append(std::move(rows));
    (void)record(exec);
}

}  // namespace sandboxd::engine
