#include "sandboxd/engine/engine_impl.hpp"

#include <algorithm>
#include <utility>

#include "sandboxd/core/log.hpp"
#include "sandboxd/engine/tasks.hpp"

namespace sandboxd::engine {

namespace {

constexpr std::size_t kEndedRemembered = 8192;
constexpr auto kStopTime = std::chrono::seconds{10};
constexpr auto kStatusTime = std::chrono::seconds{5};

}  // namespace

EngineImpl::EngineImpl(asio::any_io_executor executor, EngineConfig config, control::Node& node, std::unique_ptr<Store> store, Fd spool)
    : executor_{executor},
      config_{std::move(config)},
      node_{node},
      store_{std::move(store)},
      expiry_{executor},
      sampler_{executor, node, pools_, *store_},
      services_{executor, config_, node, pools_, *store_, sampler_, expiry_, escrow_, std::move(spool), {}, {}},
      quiet_{executor},
      tasks_{executor},
      loops_{executor} {
    services_.ceiling = [this](const TenantId& id) {
        const auto found = tenants_.find(id);
        return found != tenants_.end() ? found->second.limits : policies::TenantLimits{};
    };
    services_.exec_ended = [this] { quiet_.notify(); };
}

EngineImpl::~EngineImpl() { node_.on_gone = nullptr; }

void EngineImpl::spawn(std::string name, asio::awaitable<void> work) { tasks_.spawn(std::move(name), until_cancelled(std::move(work))); }

// ---- look up ---------------------------------------------------------------------------------------------------------

Result<SandboxPtr> EngineImpl::find(const TenantId& tenant, const SandboxId& id) {
    if (const auto found = sandboxes_.find(id); found != sandboxes_.end() && found->second->record().tenant == tenant) return SandboxPtr{found->second};
    if (const auto ended = ended_.find(id); ended != ended_.end() && ended->second == tenant) return Error{Errc::gone, "sandbox", id.str() + " has ended"};
    return Error{Errc::not_found, "sandbox", id.str() + " does not exist"};
}

std::vector<SandboxPtr> EngineImpl::list(const TenantId& tenant, const SandboxFilter& filter) {
    std::vector<SandboxPtr> out;
    for (const auto& [id, sandbox] : sandboxes_) {
        const ledger::SandboxRecord& record = sandbox->record();
        const auto matches = [&](const auto& wanted) {
            const auto found = record.metadata.find(wanted.first);
            return found != record.metadata.end() && found->second == wanted.second;
        };
        if (record.tenant != tenant || (filter.state && sandbox->state() != *filter.state)) continue;
        if (std::all_of(filter.metadata.begin(), filter.metadata.end(), matches)) out.push_back(sandbox);
    }
    std::sort(out.begin(), out.end(), [](const SandboxPtr& a, const SandboxPtr& b) {
        return a->record().created != b->record().created ? a->record().created > b->record().created : a->record().id > b->record().id;
    });
    return out;
}

// ---- end -------------------------------------------------------------------------------------------------------------

void EngineImpl::add(const Entry& sandbox) {
    const SandboxId id = sandbox->record().id;
    sandbox->set_reason_gone([this, id] { node_lost(id, "lost"); });
    sandboxes_[id] = sandbox;
}

void EngineImpl::end(const Entry& sandbox, std::string reason, SandboxImpl::NodeSide node) {
    if (sandbox->state() == SandboxState::ending || sandbox->state() == SandboxState::gone) return;
    spawn("end", run_end(sandbox, std::move(reason), node));
}

// In the engine's own task: a client that goes away in the middle must not leave half a sandbox.
asio::awaitable<void> EngineImpl::run_end(Entry sandbox, std::string reason, SandboxImpl::NodeSide node) {
    if (sandbox->state() == SandboxState::ending || sandbox->state() == SandboxState::gone) co_return;
    co_await sandbox->end_life(std::move(reason), node);
    remember_ended(sandbox->record().id, sandbox->record().tenant);
    sandboxes_.erase(sandbox->record().id);
}

void EngineImpl::remember_ended(const SandboxId& id, const TenantId& tenant) {
    if (!ended_.insert_or_assign(id, tenant).second) return;
    ended_order_.push_back(id);
    if (ended_order_.size() <= kEndedRemembered) return;
    ended_.erase(ended_order_.front());
    ended_order_.pop_front();
}

asio::awaitable<Result<void>> EngineImpl::destroy(SandboxPtr sandbox, std::string reason, Deadline deadline) {
    const auto found = sandboxes_.find(sandbox->record().id);
    if (found == sandboxes_.end() || found->second != sandbox) co_return Result<void>{};  // it is gone already
    const Entry entry = found->second;
    end(entry, std::move(reason), SandboxImpl::NodeSide::destroy);
    co_return co_await entry->until_gone(deadline);
}

void EngineImpl::on_due(const SandboxId& id) {
    const auto found = sandboxes_.find(id);
    if (found == sandboxes_.end()) return;
    const auto what = found->second->take_expired();
    if (!what) return;
    switch (*what) {
        case Lifetime::End::kill: return end(found->second, "timeout", SandboxImpl::NodeSide::destroy);
        case Lifetime::End::abandon: return end(found->second, "provisional", SandboxImpl::NodeSide::destroy);
        case Lifetime::End::pause: return spawn("pause", pause_expired(found->second));
    }
}

asio::awaitable<void> EngineImpl::pause_expired(Entry sandbox) {
    auto paused = co_await sandbox->pause(Deadline::after(kStatusTime));
    if (paused || sandbox->state() != SandboxState::running) co_return;
    log::error("a sandbox can't be paused at the end of its time; it gets another period", {{"sandbox", sandbox->record().id.str()}, {"error", paused.error()}});
    sandbox->touch();
}

void EngineImpl::node_lost(const SandboxId& id, std::string reason) {
    const auto found = sandboxes_.find(id);
    if (found != sandboxes_.end()) end(found->second, std::move(reason), SandboxImpl::NodeSide::gone_already);
}

// ---- operations ------------------------------------------------------------------------------------------------------

asio::awaitable<Result<ledger::UsagePage>> EngineImpl::usage(ledger::UsageQuery query) {
    SBX_CO_CHECK(co_await store_->flush());
    std::function<Result<ledger::UsagePage>(ledger::Records&, ledger::Ledger&)> question =
        [query = std::move(query)](ledger::Records&, ledger::Ledger& ledger) { return ledger.query(query); };
    co_return co_await store_->ask<ledger::UsagePage>(std::move(question));
}

asio::awaitable<void> EngineImpl::drain(Deadline deadline) {
    cordon(true);
    while (services_.execs_running > 0) {
        if (auto ok = co_await quiet_.wait(deadline); !ok) co_return;
    }
}

asio::awaitable<Result<control::NodeStatus>> EngineImpl::node_status() {
    SBX_CO_TRY(control::NodeStatus status, co_await node_.status(Deadline::after(kStatusTime)));
    admission_.set_node(status);
    status_at_ = system_clock().steady();
    co_return status;
}

EngineStats EngineImpl::stats() {
    EngineStats out = stats_;
    stats_.create_seconds.clear();
    out.sandboxes = sandboxes_.size();
    out.execs_running = services_.execs_running;
    out.execs_total = services_.execs_started;
    out.ledger_rows_total = store_->rows_written();
    out.refusals_total = admission_.refusals();
    for (const auto& [id, sandbox] : sandboxes_) out.spool_bytes += sandbox->spool_bytes();
    return out;
}

asio::awaitable<void> EngineImpl::stop() {
    cordon(true);
    node_.on_gone = nullptr;
    // Ends and creations that are under way are finished as far as the node goes along.
    if (auto ok = co_await tasks_.join(Deadline::after(kStopTime)); !ok) {
        log::warn("stopping although sandboxes are being made or removed", {{"tasks", tasks_.size()}});
        tasks_.cancel();
        co_await join_all(tasks_, "engine");
    }
    const std::unordered_map<SandboxId, Entry> living = std::move(sandboxes_);
    sandboxes_.clear();
    for (const auto& [id, sandbox] : living) co_await sandbox->let_go();
    auto flushed = co_await store_->flush();
    if (!flushed) log::error("the last figures are not recorded", {{"error", flushed.error()}});
    loops_.cancel();
    co_await join_all(loops_, "engine loops");
}

}  // namespace sandboxd::engine
