#include "sandboxd/engine/exec_denials.hpp"

#include <algorithm>
#include <csignal>

#include "sandboxd/core/log.hpp"
#include "sandboxd/engine/exec_table.hpp"

namespace sandboxd::engine {

namespace {

constexpr std::uint64_t kFastestDisk = 8;  // bytes a nanosecond
// How near to its limit a disk is full: a write that does not fit whole is refused whole, and 1 MiB is what buffered
// writes are commonly made of.
constexpr std::uint64_t kHair = 2 << 20;
// Of execs that the agent has not named yet: a crash leaves few that were not recorded.
constexpr std::size_t kMaxUnknown = 16;

}  // namespace

std::optional<policies::Denials> denials_told(const agent::ExecRefusals& told, policies::Profile profile, const policies::SeccompProfiles& profiles) {
    if (told.used > agent::kMaxRefusals) return std::nullopt;
    policies::Denials out;
    out.others = told.others;
    for (std::uint32_t i = 0; i < told.used; ++i) {
        const agent::Refusal& one = told.list[i];
        policies::RefusedCall call;
        call.number = one.number;
        call.error = one.error;
        call.count = one.count;
        for (std::size_t k = 0; k < std::size(one.shown); ++k) {
            if (one.shown[k] > 6) return std::nullopt;
            if (one.shown[k] != 0) call.arguments.push_back({one.shown[k] - 1U, one.values[k]});
        }
        out.list.push_back(policies::explain(call, profile, profiles));
    }
    return out;
}

bool disk_may_be_full(std::uint64_t limit, std::uint64_t used_before, std::chrono::nanoseconds ran) noexcept {
    const std::uint64_t left = limit - std::min(limit, used_before + kHair);
    return left / kFastestDisk <= static_cast<std::uint64_t>(std::max<std::int64_t>(ran.count(), 0));
}

void add_resources(const ResourceUse& use, const policies::Limits& limits, policies::Denials& denials) {
    const auto add = [&](policies::Denial denial) { denials.list.push_back(std::move(denial)); };
    if (use.oom_kills > 0) add(policies::memory_denial(limits, use.oom_kills));
    if (use.forks_refused > 0) add(policies::pids_denial(limits, use.forks_refused));
    // What found the disk full and ended well was not refused: it may even have made room, which the file system gives back later.
    const bool fills = use.disk_used_before + kHair < limits.disk_bytes || use.failed;
    if (fills && use.disk_used && *use.disk_used + kHair >= limits.disk_bytes) add(policies::disk_denial(limits, *use.disk_used));
    if (use.file_size_signal) add(policies::file_size_denial());
    if (use.out_dropped > 0) add(policies::output_denial(use.pty ? "pty" : "stdout", use.output_cap, limits, use.out_dropped));
    if (use.err_dropped > 0) add(policies::output_denial("stderr", use.output_cap, limits, use.err_dropped));
}

// ---- the table's part --------------------------------------------------------------------------------------------------

bool ExecTable::exec_refused(const agent::ExecRefusals& told) {
    const ledger::SandboxRecord& sandbox = owner_.owner_record();
    auto denials = denials_told(told, sandbox.profile, services_.config.profiles);
    if (!denials) return false;
    if (const auto found = execs_.find(told.exec); found != execs_.end()) {
        // What programs in the background are refused after the end is not the exec's any more.
        if (found->second->status() == ExecStatus::running) found->second->set_denials(*std::move(denials));
        return true;
    }
    if (discarded_.contains(told.exec)) return true;
    // Not looked at yet: its start, or the agent's greeting that will name it.
    const bool expected = launching_.contains(told.exec) || early_denials_.contains(told.exec);
    if (!expected && early_denials_.size() >= launching_.size() + kMaxUnknown) return false;
    early_denials_[told.exec] = *std::move(denials);
    return true;
}

void ExecTable::take_early_denials(const Entry& exec) {
    const auto early = early_denials_.extract(exec->number());
    if (!early.empty()) exec->set_denials(std::move(early.mapped()));
}

// Fresh where somebody else can have been refused a process since the last look.
void ExecTable::begin_counting(const Entry& exec) {
    const auto counters = owner_.counters();
    if (counters && (running_ > 1 || lingering_ > 0 || !forks_known_)) {
        forks_seen_ = counters->forks_refused();
        forks_known_ = true;
    }
    exec->forks_before = forks_seen_;
}

asio::awaitable<void> ExecTable::explain_end(Entry exec, agent::ExecState state, LastLook look) {
    ResourceUse use;
    use.oom_kills = look.oom_kills;
    use.forks_refused = look.forks_refused - std::min(look.forks_refused, exec->forks_before) + look.own_forks_refused;
    forks_seen_ = std::max(forks_seen_, look.forks_refused);
    use.file_size_signal = state.kind == agent::ExitKind::signaled && state.status == SIGXFSZ;
    use.out_dropped = exec->streams().out->dropped();
    use.err_dropped = exec->streams().err->dropped();
    use.output_cap = exec->record().output_limit;
    use.pty = exec->pty();
    const policies::Limits limits = owner_.owner_record().limits;
    const std::chrono::nanoseconds ran{std::min<std::uint64_t>(state.ended_ns - std::min(state.ended_ns, state.started_ns), INT64_MAX)};
    const std::uint64_t used_before = owner_.meter().total(system_clock().steady()).disk_bytes;
    use.disk_used_before = used_before;
    use.failed = state.kind != agent::ExitKind::exited || state.status != 0;
    if (disk_may_be_full(limits.disk_bytes, used_before, ran)) {
        std::vector<SandboxId> ids{owner_.owner_record().id};
        auto used = co_await services_.node.disk_usage(std::move(ids), Deadline::after(kDiskTime));
        if (used && used->size() == 1) {
            use.disk_used = used->front();
            owner_.meter().set_disk(used->front());
        } else {
            log::debug("whether the disk is full is not known", {{"exec", exec->number()}});
        }
    }
    policies::Denials denials = exec->denials();
    add_resources(use, limits, denials);
    exec->set_denials(std::move(denials));
}

}  // namespace sandboxd::engine
