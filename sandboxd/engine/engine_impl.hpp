#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "sandboxd/core/async.hpp"
#include "sandboxd/engine/admission.hpp"
#include "sandboxd/engine/engine.hpp"
#include "sandboxd/engine/escrow.hpp"
#include "sandboxd/engine/expiry.hpp"
#include "sandboxd/engine/io_pools.hpp"
#include "sandboxd/engine/keyring.hpp"
#include "sandboxd/engine/sampler.hpp"
#include "sandboxd/engine/sandbox_impl.hpp"
#include "sandboxd/engine/services.hpp"
#include "sandboxd/engine/store.hpp"

namespace sandboxd::engine {

// The engine's parts and the registry of sandboxes. Members in the order in which they need each other; stop() joins
// every task before they go.
class EngineImpl final : public Engine {
public:
    EngineImpl(asio::any_io_executor executor, EngineConfig config, control::Node& node, std::unique_ptr<Store> store, Fd spool);
    ~EngineImpl() override;

    // Joins the records with what lives on the node; see Engine::start.
    [[nodiscard]] asio::awaitable<Result<void>> recover();

    asio::awaitable<Result<SandboxPtr>> create(TenantId tenant, CreateRequest request, Deadline deadline) override;
    Result<SandboxPtr> find(const TenantId& tenant, const SandboxId& id) override;
    std::vector<SandboxPtr> list(const TenantId& tenant, const SandboxFilter& filter) override;
    asio::awaitable<Result<void>> destroy(SandboxPtr sandbox, std::string reason, Deadline deadline) override;
    asio::awaitable<Result<ledger::UsagePage>> usage(ledger::UsageQuery query) override;

    std::optional<ledger::TenantRecord> tenant(const TenantId& id) const override;
    std::vector<ledger::TenantRecord> tenants() const override;
    asio::awaitable<Result<void>> put_tenant(ledger::TenantRecord tenant) override;
    std::vector<ledger::KeyRecord> keys() const override { return keys_.all(); }
    std::optional<ledger::KeyRecord> authenticate(std::string_view key) const override { return keys_.authenticate(key); }
    asio::awaitable<Result<NewKey>> create_key(TenantId tenant, std::string label, bool admin) override;
    asio::awaitable<Result<void>> revoke_key(KeyId id) override;
    asio::awaitable<Result<void>> ensure_key(TenantId tenant, std::string secret, std::string label, bool admin) override;

    asio::awaitable<Result<std::optional<ledger::IdempotencyRecord>>> claim_idempotency(ledger::IdempotencyRecord record) override;
    asio::awaitable<Result<void>> finish_idempotency(ledger::IdempotencyRecord record) override;
    asio::awaitable<Result<void>> drop_idempotency(TenantId tenant, std::string key) override;

    void cordon(bool on) override { admission_.cordon(on); }
    bool cordoned() const override { return admission_.cordoned(); }
    asio::awaitable<void> drain(Deadline deadline) override;
    asio::awaitable<Result<control::NodeStatus>> node_status() override;
    asio::awaitable<Result<control::Attestation>> attest(control::AttestRequest request, Deadline deadline) override {
        return node_.attest(std::move(request), deadline);
    }
    EngineStats stats() override;
    asio::awaitable<void> stop() override;

private:
    using Entry = std::shared_ptr<SandboxImpl>;
    struct Creation;
    struct Found;  // of one sandbox, at the start

    // ---- create
    [[nodiscard]] Result<void> check_request(const CreateRequest& request, const policies::TenantLimits& ceiling) const;
    [[nodiscard]] asio::awaitable<std::optional<Result<SandboxPtr>>> existing(TenantId tenant, CreateRequest request, Deadline deadline);
    [[nodiscard]] asio::awaitable<void> make(std::shared_ptr<Creation> creation);
    [[nodiscard]] asio::awaitable<Result<Entry>> make_on_node(std::shared_ptr<Creation> creation);
    void refresh_node_status();
    [[nodiscard]] asio::awaitable<void> ask_node_status();

    // ---- end
    void add(const Entry& sandbox);
    void end(const Entry& sandbox, std::string reason, SandboxImpl::NodeSide node);
    [[nodiscard]] asio::awaitable<void> run_end(Entry sandbox, std::string reason, SandboxImpl::NodeSide node);
    void remember_ended(const SandboxId& id, const TenantId& tenant);
    void on_due(const SandboxId& id);
    [[nodiscard]] asio::awaitable<void> pause_expired(Entry sandbox);
    void node_lost(const SandboxId& id, std::string reason);

    // ---- recovery
    [[nodiscard]] asio::awaitable<Result<std::vector<Found>>> load();
    [[nodiscard]] asio::awaitable<void> take_up(std::shared_ptr<Found> found);
    void give_up(Found found);
    [[nodiscard]] asio::awaitable<void> remove_stranger(SandboxId id);
    [[nodiscard]] asio::awaitable<void> sweep_spool();
    void spawn(std::string name, asio::awaitable<void> work);

    asio::any_io_executor executor_;
    EngineConfig config_;
    control::Node& node_;
    IoPools pools_;
    std::unique_ptr<Store> store_;
    UnlimitedEscrow money_;
    Escrow escrow_{money_};
    Expiry expiry_;
    Sampler sampler_;
    Admission admission_;
    Services services_;
    Keyring keys_;
    std::map<TenantId, ledger::TenantRecord> tenants_;
    std::unordered_map<SandboxId, Entry> sandboxes_;
    std::unordered_map<SandboxId, std::shared_ptr<Creation>> creations_;
    std::unordered_map<SandboxId, TenantId> ended_;
    std::deque<SandboxId> ended_order_;
    SteadyTime status_at_{};
    bool status_asked_ = false;
    EngineStats stats_;
    Event quiet_;      // an exec has ended
    TaskGroup tasks_;  // of sandboxes: creations and ends; joined by stop(), not cancelled
    TaskGroup loops_;  // store, sampler, expiry
};

}  // namespace sandboxd::engine
