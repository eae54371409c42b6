#include <utility>

#include "sandboxd/engine/engine_impl.hpp"

namespace sandboxd::engine {

std::optional<ledger::TenantRecord> EngineImpl::tenant(const TenantId& id) const {
    const auto found = tenants_.find(id);
    if (found == tenants_.end()) return std::nullopt;
    return found->second;
}

std::vector<ledger::TenantRecord> EngineImpl::tenants() const {
    std::vector<ledger::TenantRecord> out;
    out.reserve(tenants_.size());
    for (const auto& [id, record] : tenants_) out.push_back(record);
    return out;
}

asio::awaitable<Result<void>> EngineImpl::put_tenant(ledger::TenantRecord tenant) {
    if (const auto known = tenants_.find(tenant.id); known != tenants_.end()) {
        tenant.created = known->second.created;
    } else if (tenant.created == WallTime{}) {
        tenant.created = system_clock().wall();
    }
    const Store::Ticket ticket = store_->put([tenant](ledger::Records& records) { return records.put_tenant(tenant); });
    SBX_CO_CHECK(co_await store_->flushed(ticket));
    tenants_.insert_or_assign(tenant.id, tenant);
    co_return Result<void>{};
}

asio::awaitable<Result<Engine::NewKey>> EngineImpl::create_key(TenantId tenant, std::string label, bool admin) {
    if (!tenants_.contains(tenant)) co_return Error{Errc::not_found, "tenant", tenant.str() + " does not exist"};
    NewKey key;
    SBX_CO_TRY(key.secret, new_key_secret());
    key.record.id = KeyId::trusted(generate_id(IdKind::key, config_.node));
    key.record.tenant = std::move(tenant);
    key.record.hash = sha256(key.secret);
    key.record.label = std::move(label);
    key.record.admin = admin;
    key.record.created = system_clock().wall();
    const Store::Ticket ticket = store_->put([record = key.record](ledger::Records& records) { return records.put_key(record); });
    SBX_CO_CHECK(co_await store_->flushed(ticket));
    keys_.put(key.record);
    co_return key;
}

asio::awaitable<Result<void>> EngineImpl::revoke_key(KeyId id) {
    const WallTime now = system_clock().wall();
    // From this moment on, whatever the database does: what is not written yet is written in the end.
    SBX_CO_CHECK(keys_.revoke(id, now));
    const Store::Ticket ticket = store_->put([id, now](ledger::Records& records) { return records.revoke_key(id, now); });
    co_return co_await store_->flushed(ticket);
}

asio::awaitable<Result<void>> EngineImpl::ensure_key(TenantId tenant, std::string secret, std::string label, bool admin) {
    SBX_CO_TRY(const KeyHash hash, hash_of_secret(secret));
    if (!tenants_.contains(tenant)) co_return Error{Errc::not_found, "tenant", tenant.str() + " does not exist"};
    ledger::KeyRecord record;
    if (const auto known = keys_.find(hash)) {
        if (known->tenant == tenant && known->label == label && known->admin == admin && !known->revoked) co_return Result<void>{};
        record = *known;
        record.revoked.reset();
    } else {
        record.id = KeyId::trusted(generate_id(IdKind::key, config_.node));
        record.hash = hash;
        record.created = system_clock().wall();
    }
    record.tenant = std::move(tenant);
    record.label = std::move(label);
    record.admin = admin;
    const Store::Ticket ticket = store_->put([record](ledger::Records& records) { return records.put_key(record); });
    SBX_CO_CHECK(co_await store_->flushed(ticket));
    keys_.put(record);
    co_return Result<void>{};
}

asio::awaitable<Result<std::optional<ledger::IdempotencyRecord>>> EngineImpl::claim_idempotency(ledger::IdempotencyRecord record) {
    using Claimed = std::optional<ledger::IdempotencyRecord>;
    std::function<Result<Claimed>(ledger::Records&, ledger::Ledger&)> question =
        [record = std::move(record)](ledger::Records& records, ledger::Ledger&) { return records.claim_idempotency(record); };
    co_return co_await store_->ask<Claimed>(std::move(question));
}

asio::awaitable<Result<void>> EngineImpl::finish_idempotency(ledger::IdempotencyRecord record) {
    std::function<Result<void>(ledger::Records&, ledger::Ledger&)> question =
        [record = std::move(record)](ledger::Records& records, ledger::Ledger&) { return records.finish_idempotency(record); };
    co_return co_await store_->ask<void>(std::move(question));
}

asio::awaitable<Result<void>> EngineImpl::drop_idempotency(TenantId tenant, std::string key) {
    std::function<Result<void>(ledger::Records&, ledger::Ledger&)> question =
        [tenant = std::move(tenant), key = std::move(key)](ledger::Records& records, ledger::Ledger&) { return records.drop_idempotency(tenant, key); };
    co_return co_await store_->ask<void>(std::move(question));
}

}  // namespace sandboxd::engine
