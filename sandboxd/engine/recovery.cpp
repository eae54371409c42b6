// The start of the engine: what the database remembers, joined with what lives on the node.
#include <fcntl.h>

#include <csignal>
#include <filesystem>
#include <set>
#include <utility>

#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"
#include "sandboxd/engine/engine_impl.hpp"
#include "sandboxd/engine/tasks.hpp"

namespace sandboxd::engine {

namespace {

constexpr auto kListTime = std::chrono::seconds{30};
constexpr auto kReconnectTime = std::chrono::seconds{5};  // per sandbox: one bad jail can't hold up the start
constexpr auto kSyncTime = std::chrono::seconds{5};
constexpr std::size_t kAtOnce = 16;
constexpr auto kRemember = std::chrono::hours{24 * 7};    // ended sandboxes, idempotency keys

}  // namespace

struct EngineImpl::Found {
    ledger::SandboxRecord record;
    std::vector<ExecTable::Remembered> execs;
    ledger::Counters figures;
};

namespace {

struct Memory {
    std::vector<ledger::TenantRecord> tenants;
    std::vector<ledger::KeyRecord> keys;
};

Result<Memory> read_memory(ledger::Records& records) {
    Memory out;
    // Housekeeping that failed is no reason not to start.
    if (auto pruned = records.prune(system_clock().wall() - kRemember); !pruned) log::warn("old records stay", {{"error", pruned.error()}});
    SBX_TRY(out.tenants, records.tenants());
    SBX_TRY(out.keys, records.keys());
    return out;
}

// Leaves a place for one more task and takes it back when that has ended.
class Gate {
public:
    explicit Gate(asio::any_io_executor executor) : left_{std::move(executor)} {}
    asio::awaitable<void> enter() {
        while (inside_ >= kAtOnce) (void)co_await left_.wait(Deadline::never());
        ++inside_;
    }
    asio::awaitable<void> pass(asio::awaitable<void> work) {
        struct Leave {
            Gate& gate;
            explicit Leave(Gate& g) : gate{g} {}
            ~Leave() {
                --gate.inside_;
                gate.left_.notify();
            }
        } leave{*this};
        co_await std::move(work);
    }

private:
    std::size_t inside_ = 0;
    Event left_;
};

}  // namespace

asio::awaitable<Result<std::unique_ptr<Engine>>> Engine::start(asio::any_io_executor executor, EngineConfig config, control::Node& node) {
    // A program that closes its stdin must not end the daemon.
    (void)std::signal(SIGPIPE, SIG_IGN);
    SBX_CO_CHECK(sys::ensure_dir(config.state_dir + "/spool", 0700));
    SBX_CO_TRY(Fd spool, sys::open(config.state_dir + "/spool", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    SBX_CO_TRY(auto store, Store::open(executor, config.state_dir + "/state.db", config.node, config.price_book));
    auto engine = std::make_unique<EngineImpl>(executor, std::move(config), node, std::move(store), std::move(spool));
    auto recovered = co_await engine->recover();
    if (!recovered) {
        co_await engine->stop();
        co_return std::move(recovered).error();
    }
    co_return std::unique_ptr<Engine>{std::move(engine)};
}

asio::awaitable<Result<std::vector<EngineImpl::Found>>> EngineImpl::load() {
    std::function<Result<std::vector<Found>>(ledger::Records&, ledger::Ledger&)> question =
        [](ledger::Records& records, ledger::Ledger& ledger) -> Result<std::vector<Found>> {
        std::vector<Found> out;
        SBX_TRY(auto living, records.living_sandboxes());
        for (ledger::SandboxRecord& record : living) {
            Found found;
            SBX_TRY(const auto figures, ledger.last(record.id, 0));
            found.figures = figures.value_or(ledger::Counters{});
            SBX_TRY(auto execs, records.execs(record.id));
            for (ledger::ExecRecord& exec : execs) {
                SBX_TRY(const auto last, ledger.last(record.id, exec.number));
                found.execs.push_back({std::move(exec), last.value_or(ledger::Counters{})});
            }
            found.record = std::move(record);
            out.push_back(std::move(found));
        }
        return out;
    };
    co_return co_await store_->ask<std::vector<Found>>(std::move(question));
}

asio::awaitable<Result<void>> EngineImpl::recover() {
    loops_.spawn("store", until_cancelled(store_->run()));
    loops_.spawn("sampler", until_cancelled(sampler_.run()));
    loops_.spawn("expiry", until_cancelled(expiry_.run([this](SandboxId id) { on_due(id); })));
    std::function<Result<Memory>(ledger::Records&, ledger::Ledger&)> question = [](ledger::Records& records, ledger::Ledger&) { return read_memory(records); };
    SBX_CO_TRY(Memory memory, co_await store_->ask<Memory>(std::move(question)));
    for (ledger::TenantRecord& tenant : memory.tenants) tenants_.insert_or_assign(tenant.id, tenant);
    for (ledger::KeyRecord& key : memory.keys) keys_.put(std::move(key));

    SBX_CO_TRY(std::vector<Found> known, co_await load());
    SBX_CO_TRY(const std::vector<SandboxId> living, co_await node_.list(Deadline::after(kListTime)));
    node_.on_gone = [this](SandboxId id, control::GoneReason reason) { node_lost(id, reason == control::GoneReason::init_died ? "init died" : "lost"); };
    (void)co_await node_status();  // for admission; asked again with the first creates

    std::set<SandboxId> strangers{living.begin(), living.end()};
    TaskGroup group{executor_};
    Gate gate{executor_};
    for (Found& found : known) {
        if (strangers.erase(found.record.id) == 0) {
            give_up(std::move(found));
            continue;
        }
        co_await gate.enter();
        const auto shared = std::make_shared<Found>(std::move(found));
        auto work = take_up(shared);
        auto guarded = gate.pass(std::move(work));
        group.spawn("recover", until_cancelled(std::move(guarded)));
    }
    (void)co_await group.join(Deadline::never());
    for (const SandboxId& id : strangers) spawn("stranger", remove_stranger(id));
    co_await sweep_spool();
    // Memory over the time that nobody looked is an estimate from today's level. Written down before anybody is told, it
    // does not change with the next crash.
    co_await sampler_.sample();
    auto flushed = co_await store_->flush();
    if (!flushed) log::error("what was counted meanwhile is not recorded yet", {{"error", flushed.error()}});
    log::info("engine started", {{"sandboxes", sandboxes_.size()}, {"lost", known.size() - sandboxes_.size()}, {"strangers", strangers.size()}});
    co_return Result<void>{};
}

asio::awaitable<void> EngineImpl::take_up(std::shared_ptr<Found> found) {
    const SandboxId id = found->record.id;
    auto handle = co_await node_.reconnect(id, Deadline::after(kReconnectTime));
    if (!handle && handle.error().errc() == Errc::not_found) {
        give_up(std::move(*found));
        // The node named it a moment ago: what can't be reached there, its agent's socket being gone, must not run on unseen.
        spawn("stranger", remove_stranger(id));
        co_return;
    }
    if (!handle) log::warn("a sandbox does not answer yet", {{"sandbox", id.str()}, {"error", handle.error()}});
    std::optional<control::SandboxHandle> connected;
    if (handle) connected = *std::move(handle);
    const auto sandbox = std::make_shared<SandboxImpl>(services_, admission_, admission_.adopt(found->record.tenant, found->record.limits),
                                                       std::move(found->record), found->figures);
    add(sandbox);
    auto recovered = sandbox->recover(std::move(connected), std::move(found->execs));
    if (!recovered) {
        log::error("a sandbox can't be taken up again", {{"sandbox", id.str()}, {"error", recovered.error()}});
        end(sandbox, "lost", SandboxImpl::NodeSide::destroy);
        co_return;
    }
    // Bounded: what is not told by then is taken up when it comes.
    (void)co_await sandbox->until_synced(Deadline::after(kSyncTime));
}

void EngineImpl::give_up(Found found) {
    log::warn("a sandbox is lost: the node has it no more", {{"sandbox", found.record.id.str()}});
    const WallTime now = system_clock().wall();
    std::vector<ledger::Sample> rows;
    for (ExecTable::Remembered& exec : found.execs) {
        if (exec.record.status != to_string(ExecStatus::running)) continue;
        exec.record.status = std::string{to_string(ExecStatus::lost)};
        exec.record.ended = now;
        rows.push_back({found.record.id, found.record.tenant, exec.record.number, now, exec.counters, true});
        (void)store_->put([record = exec.record](ledger::Records& records) { return records.put_exec(record); });
    }
    rows.push_back({found.record.id, found.record.tenant, 0, now, found.figures, true});
    (void)store_->append(std::move(rows));
    found.record.ended = now;
    found.record.end_reason = "lost";
    remember_ended(found.record.id, found.record.tenant);
    (void)store_->put([record = std::move(found.record)](ledger::Records& records) { return records.put_sandbox(record); });
}

asio::awaitable<void> EngineImpl::remove_stranger(SandboxId id) {
    log::warn("removing a sandbox that is not recorded", {{"sandbox", id.str()}});
    auto destroyed = co_await node_.destroy(id, Deadline::after(kListTime));
    if (!destroyed) log::error("a stranger stays until the next start", {{"sandbox", id.str()}, {"error", destroyed.error()}});
}

asio::awaitable<void> EngineImpl::sweep_spool() {
    std::set<std::string> keep;
    for (const auto& [id, sandbox] : sandboxes_) keep.insert(id.str());
    std::function<void()> work = [keep = std::move(keep), path = config_.state_dir + "/spool"] {
        std::error_code failed;
        for (const auto& folder : std::filesystem::directory_iterator{path, failed}) {
            if (keep.contains(folder.path().filename().string())) continue;
            std::filesystem::remove_all(folder.path(), failed);
            if (failed) log::warn("a spool folder can't be removed", {{"path", folder.path().string()}, {"error", failed.message()}});
        }
    };
    co_await pools_.spill.run(std::move(work));
}

}  // namespace sandboxd::engine
