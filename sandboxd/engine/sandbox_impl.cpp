#include "sandboxd/engine/sandbox_impl.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"
#include "sandboxd/engine/tasks.hpp"

namespace sandboxd::engine {

namespace {

Error gone_error(const SandboxId& id) { return Error{Errc::gone, "sandbox", id.str() + " has ended"}; }

Lifetime lifetime_of(const ledger::SandboxRecord& record) {
    const auto kind = record.provisional ? Lifetime::Kind::provisional : Lifetime::Kind::confirmed;
    Lifetime out{record.timeout_s, record.on_timeout, kind, system_clock().steady()};
    if (record.paused) out.paused(true, system_clock().steady());
    return out;
}

}  // namespace

std::string_view to_string(SandboxState state) noexcept {
    switch (state) {
        case SandboxState::running: return "running";
        case SandboxState::paused: return "paused";
        case SandboxState::ending: return "ending";
        case SandboxState::gone: return "gone";
    }
    return "gone";
}

SandboxImpl::SandboxImpl(Services& services, Admission& admission, Admission::Lease lease, ledger::SandboxRecord record, ledger::Counters figures)
    : services_{services},
      admission_{admission},
      lease_{std::move(lease)},
      record_{std::move(record)},
      state_{record_.paused ? SandboxState::paused : SandboxState::running},
      lifetime_{lifetime_of(record_)},
      meter_{record_.id, record_.tenant, figures, system_clock().steady()},
      prices_{services.config.price_book},
      charged_{ledger::cost_of(figures, prices_)},
      changed_{services.executor},
      tasks_{services.executor},
      agent_{std::make_shared<AgentClient>(services.executor, [this](Deadline deadline) { return dial(deadline); }, static_cast<AgentListener&>(*this))},
      execs_{services, *this, agent_, tasks_},
      files_{services.pools, agent_, [this]() -> Result<void> {
                 SBX_CHECK(usable());
                 touch();
                 return {};
             }} {}

// ---- beginning -------------------------------------------------------------------------------------------------------

Result<void> SandboxImpl::open_spool() {
    const std::string& name = record_.id.str();
    auto made = sys::mkdirat(services_.spool.get(), name.c_str(), 0700);
    if (!made && !made.error().is_errno(EEXIST)) return made;
    SBX_TRY(Fd folder, sys::openat(services_.spool.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    execs_.set_folder(std::move(folder));
    return {};
}

void SandboxImpl::take_folders(control::SandboxHandle& handle) {
    counters_ = std::make_shared<const CgroupCounters>(std::move(handle.memory_dir), std::move(handle.cpu_dir),
                                                       std::move(handle.pids_dir), handle.cgroup_v2);
}

void SandboxImpl::serve_agent(Fd socket, AgentClient::Start start) {
    auto work = agent_->run(std::move(socket), start);
    tasks_.spawn("agent", until_cancelled(std::move(work)));
}

Result<void> SandboxImpl::start(control::SandboxHandle handle) {
    SBX_CHECK(open_spool());
    take_folders(handle);
    synced_ = true;
    serve_agent(std::move(handle.agent), AgentClient::Start::fresh);
    reschedule();
    return {};
}

Result<void> SandboxImpl::recover(std::optional<control::SandboxHandle> handle, std::vector<ExecTable::Remembered> execs) {
    SBX_CHECK(open_spool());
    const bool frozen = handle ? handle->frozen : record_.paused;
    if (handle) take_folders(*handle);
    if (frozen != record_.paused) {
        // The process ended between the freeze and its record: the kernel is right.
        record_.paused = frozen;
        lifetime_.paused(frozen, system_clock().steady());
        (void)save();
    }
    state_ = frozen ? SandboxState::paused : SandboxState::running;
    execs_.restore(std::move(execs));
    const auto age = system_clock().wall() - record_.created;
    const Reading reading = counters_ ? counters_->sandbox() : Reading{};
    meter_.catch_up(static_cast<std::uint64_t>(std::max(age, std::chrono::nanoseconds{0}).count()), reading);
    agent_->hold(frozen);
    serve_agent(handle ? std::move(handle->agent) : Fd{}, AgentClient::Start::resume);
    services_.sampler.watch(shared_from_this());
    reschedule();
    return {};
}

asio::awaitable<Result<void>> SandboxImpl::until_synced(Deadline deadline) {
    const auto self = shared_from_this();
    while (!synced_ && state_ == SandboxState::running) SBX_CO_CHECK(co_await changed_.wait(deadline));
    co_return Result<void>{};
}

asio::awaitable<Result<Fd>> SandboxImpl::dial(Deadline deadline) {
    SBX_CO_TRY(control::SandboxHandle handle, co_await services_.node.reconnect(record_.id, deadline));
    take_folders(handle);
    co_return std::move(handle.agent);
}

// ---- what the agent and the execs tell -------------------------------------------------------------------------------

bool SandboxImpl::exec_exited(const agent::ExecState& state) { return execs_.exec_exited(state); }

bool SandboxImpl::exec_refused(const agent::ExecRefusals& told) { return execs_.exec_refused(told); }

void SandboxImpl::synced(std::vector<HeldExec> held) {
    execs_.synced(std::move(held));
    synced_ = true;
    changed_.notify();
}

void SandboxImpl::agent_gone() {
    if (state_ != SandboxState::ending && state_ != SandboxState::gone && lost_) lost_();
}

void SandboxImpl::exec_began() {
    lifetime_.exec_began(system_clock().steady());
    // The idle time up to now counts at the level that was seen last; from here on there is a look every second.
    meter_.idle_until(system_clock().steady());
    services_.sampler.watch(shared_from_this());
    reschedule();
}

void SandboxImpl::exec_ended() {
    lifetime_.exec_ended(system_clock().steady());
    reschedule();
}

void SandboxImpl::sampled() {
    execs_.record_progress();
    const policies::PicoMoney cost = ledger::cost_of(meter_.total(system_clock().steady()), prices_);
    const policies::PicoMoney more = std::max<policies::PicoMoney>(cost - charged_, 0);
    charged_ += more;
    if (!services_.escrow.spend(record_.tenant, more)) log::warn("a tenant's budget is used up", {{"tenant", record_.tenant.str()}});
}

// ---- what clients ask ------------------------------------------------------------------------------------------------

Result<void> SandboxImpl::usable() const {
    if (state_ == SandboxState::running) return {};
    if (state_ == SandboxState::paused) return Error{Errc::conflict, "sandbox", record_.id.str() + " is paused; resume it first"}.fact("state", std::string{"paused"});
    return gone_error(record_.id);
}

std::optional<WallTime> SandboxImpl::expires() const {
    const auto due = lifetime_.due();
    if (!due || state_ == SandboxState::ending || state_ == SandboxState::gone) return std::nullopt;
    return system_clock().wall() + std::chrono::duration_cast<std::chrono::nanoseconds>(*due - system_clock().steady());
}

ledger::Usage SandboxImpl::usage() const {
    if (state_ == SandboxState::gone) return ledger::price(meter_.sandbox_row({}, SandboxMeter::Last::yes).counters, prices_);
    return ledger::price(meter_.total(system_clock().steady()), prices_);
}

asio::awaitable<Result<ExecPtr>> SandboxImpl::exec(ExecRequest request, Deadline deadline) {
    const auto self = shared_from_this();
    SBX_CO_CHECK(usable());
    touch();
    co_return co_await execs_.start(std::move(request), deadline);
}

Result<ExecPtr> SandboxImpl::find_exec(const ExecId& id) {
    if (state_ == SandboxState::gone) return gone_error(record_.id);
    return execs_.find(id);
}

asio::awaitable<Result<Fd>> SandboxImpl::connect(std::uint16_t port, Deadline deadline) {
    const auto self = shared_from_this();
    SBX_CO_CHECK(usable());
    touch();
    agent::ConnectPort body;
    body.port = port;
    auto request = agent_->request(agent::Type::connect_port, body, Fd{}, deadline);
    SBX_CO_TRY(AgentReply reply, co_await std::move(request));
    auto connected = reply.check(agent::Type::connected, 1, "connect");
    if (!connected && connected.error().is_errno(ECONNREFUSED)) {
        co_return Error{Errc::unavailable, "connect", "nothing listens on port " + std::to_string(port)}.fact("port", std::int64_t{port});
    }
    if (!connected) co_return std::move(connected).error();
    SBX_CO_CHECK(check_tcp_socket(reply.fds[0]));
    co_return std::move(reply.fds[0]);
}

void SandboxImpl::touch() {
    if (state_ != SandboxState::running && state_ != SandboxState::paused) return;
    const bool was_provisional = lifetime_.provisional();
    lifetime_.used(system_clock().steady());
    record_.last_used = system_clock().wall();
    if (was_provisional) {
        record_.provisional = false;
        (void)save();
    }
    reschedule();
}

Result<void> SandboxImpl::check_update(const SandboxUpdate& update) const {
    const policies::TenantLimits ceiling = services_.ceiling(record_.tenant);
    if (!update.timeout_s || (*update.timeout_s > 0 && *update.timeout_s <= ceiling.max_timeout_s)) return {};
    return Error{Errc::limit_exceeded, "update", "timeout_s is out of range"}
        .fact("limit", std::string{"timeout_s"})
        .fact("asked", static_cast<std::int64_t>(*update.timeout_s))
        .fact("allowed", static_cast<std::int64_t>(ceiling.max_timeout_s));
}

asio::awaitable<Result<void>> SandboxImpl::update(SandboxUpdate update, Deadline deadline) {
    const auto self = shared_from_this();
    if (state_ != SandboxState::running && state_ != SandboxState::paused) co_return gone_error(record_.id);
    SBX_CO_CHECK(check_update(update));
    if (update.limits && *update.limits != record_.limits) {
        const policies::TenantLimits ceiling = services_.ceiling(record_.tenant);
        const policies::Limits before = record_.limits;
        SBX_CO_CHECK(admission_.resize(lease_, ceiling, *update.limits));
        auto changed = co_await services_.node.set_limits(record_.id, *update.limits, deadline);
        if (!changed) {
            // What the tenant held before it holds still, whatever its ceiling says by now.
            lease_ = Admission::Lease{};
            lease_ = admission_.adopt(record_.tenant, before);
            co_return std::move(changed).error();
        }
        record_.limits = *update.limits;
    }
    if (update.timeout_s) record_.timeout_s = *update.timeout_s;
    if (update.on_timeout) record_.on_timeout = *update.on_timeout;
    if (update.metadata) record_.metadata = *std::move(update.metadata);
    lifetime_.configure(record_.timeout_s, record_.on_timeout);
    touch();
    co_return co_await services_.store.flushed(save());
}

asio::awaitable<Result<void>> SandboxImpl::set_frozen(bool frozen, Deadline deadline) {
    const auto self = shared_from_this();
    while (changing_) SBX_CO_CHECK(co_await changed_.wait(deadline));
    const SandboxState wanted = frozen ? SandboxState::paused : SandboxState::running;
    if (state_ == wanted) co_return Result<void>{};
    if (state_ != SandboxState::running && state_ != SandboxState::paused) co_return gone_error(record_.id);
    struct Changing {
        SandboxImpl& sandbox;
        explicit Changing(SandboxImpl& s) : sandbox{s} { sandbox.changing_ = true; }
        ~Changing() {
            sandbox.changing_ = false;
            sandbox.changed_.notify();
        }
    } changing{*this};
    if (frozen) agent_->hold(true);
    auto done = co_await services_.node.set_frozen(record_.id, frozen, deadline);
    if (state_ != SandboxState::running && state_ != SandboxState::paused) co_return gone_error(record_.id);
    if (!done) {
        agent_->hold(state_ == SandboxState::paused);
        co_return std::move(done).error();
    }
    state_ = wanted;
    agent_->hold(frozen);
    record_.paused = frozen;
    lifetime_.paused(frozen, system_clock().steady());
    record_.last_used = system_clock().wall();
    reschedule();
    services_.sampler.watch(self);
    co_return co_await services_.store.flushed(save());
}

asio::awaitable<Result<void>> SandboxImpl::pause(Deadline deadline) { return set_frozen(true, deadline); }

asio::awaitable<Result<void>> SandboxImpl::resume(Deadline deadline) { return set_frozen(false, deadline); }

// ---- time to live ----------------------------------------------------------------------------------------------------

void SandboxImpl::reschedule() {
    const bool alive = state_ == SandboxState::running || state_ == SandboxState::paused;
    services_.expiry.set(record_.id, alive ? lifetime_.due() : std::nullopt);
}

std::optional<Lifetime::End> SandboxImpl::take_expired() {
    const auto due = lifetime_.due();
    if (state_ != SandboxState::running || !due) return std::nullopt;
    if (*due > system_clock().steady()) {
        reschedule();
        return std::nullopt;
    }
    return lifetime_.end();
}

Store::Ticket SandboxImpl::save() {
    return services_.store.put([now = record_](ledger::Records& records) { return records.put_sandbox(now); });
}

}  // namespace sandboxd::engine
