// How a sandbox ends, or how it is let go when the process stops.
#include <filesystem>
#include <utility>

#include "sandboxd/core/log.hpp"
#include "sandboxd/engine/sandbox_impl.hpp"
#include "sandboxd/engine/tasks.hpp"

namespace sandboxd::engine {

namespace {

constexpr auto kDestroyTime = std::chrono::seconds{30};
constexpr auto kDestroyRetry = std::chrono::seconds{1};

}  // namespace

asio::awaitable<void> SandboxImpl::look() {
    const auto counters = counters_;
    if (!counters) co_return;
    const auto readings = std::make_shared<Readings>();
    const std::vector<std::uint64_t> running = meter_.running();
    std::function<void()> work = [readings, counters, running] { *readings = read_counters(*counters, running); };
    co_await services_.pools.spill.run(std::move(work));
    meter_.apply(*readings);
}

asio::awaitable<void> SandboxImpl::destroy_on_node() {
    for (;;) {
        auto destroyed = co_await services_.node.destroy(record_.id, Deadline::after(kDestroyTime));
        if (destroyed) co_return;
        log::error("a sandbox can't be destroyed; trying again", {{"sandbox", record_.id.str()}, {"error", destroyed.error()}});
        (void)co_await sleep_until(Deadline::after(kDestroyRetry));
    }
}

asio::awaitable<void> SandboxImpl::end_life(std::string reason, NodeSide node) {
    const auto self = shared_from_this();
    if (state_ == SandboxState::ending || state_ == SandboxState::gone) co_return;
    state_ = SandboxState::ending;
    reschedule();
    agent_->close();
    changed_.notify();
    // Before it is killed, since the folders may be gone right after; and once more for what was used until then.
    co_await look();
    if (node == NodeSide::destroy) co_await destroy_on_node();
    co_await look();
    lease_ = Admission::Lease{};

    // Nobody writes any more: what is in the pipes comes at once, and the readers that follow get it.
    co_await execs_.drain();
    tasks_.cancel();
    co_await join_all(tasks_, record_.id.str());
    std::vector<ledger::Sample> rows;
    execs_.sandbox_ended(node == NodeSide::destroy ? ExecStatus::signaled : ExecStatus::lost, rows);
    rows.push_back(meter_.sandbox_row(system_clock().wall(), SandboxMeter::Last::yes));
    (void)services_.store.append(std::move(rows));
    record_.ended = system_clock().wall();
    record_.end_reason = std::move(reason);
    const Store::Ticket saved = save();
    co_await remove_spool();
    // The store keeps what it can't write now; the sandbox is gone all the same.
    (void)co_await services_.store.flushed(saved);
    state_ = SandboxState::gone;
    counters_ = nullptr;
    log::info("sandbox ended", {{"sandbox", record_.id.str()}, {"reason", record_.end_reason}});
    changed_.notify();
}

asio::awaitable<void> SandboxImpl::remove_spool() {
    const std::string path = services_.config.state_dir + "/spool/" + record_.id.str();
    std::function<void()> work = [path] {
        std::error_code failed;
        std::filesystem::remove_all(path, failed);
        if (failed) log::warn("a spool folder stays until the next start", {{"path", path}, {"error", failed.message()}});
    };
    co_await services_.pools.spill.run(std::move(work));
}

asio::awaitable<Result<void>> SandboxImpl::until_gone(Deadline deadline) {
    const auto self = shared_from_this();
    while (state_ != SandboxState::gone) SBX_CO_CHECK(co_await changed_.wait(deadline));
    co_return Result<void>{};
}

asio::awaitable<void> SandboxImpl::let_go() {
    const auto self = shared_from_this();
    if (state_ == SandboxState::gone) co_return;
    agent_->close();
    tasks_.cancel();
    co_await join_all(tasks_, record_.id.str());
    co_await look();
    execs_.record_progress();
    std::vector<ledger::Sample> rows;
    meter_.rows(system_clock().wall(), rows);
    (void)services_.store.append(std::move(rows));
    (void)save();
    state_ = SandboxState::gone;
    reschedule();
    counters_ = nullptr;
    changed_.notify();
}

}  // namespace sandboxd::engine
