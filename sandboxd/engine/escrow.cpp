#include "sandboxd/engine/escrow.hpp"

#include <algorithm>

namespace sandboxd::engine {

namespace {

constexpr policies::PicoMoney kChunk = 1'000'000'000'000;  // one unit of the currency

}  // namespace

policies::PicoMoney UnlimitedEscrow::lease(const TenantId&, policies::PicoMoney least) { return std::max(least, kChunk); }

Escrow::~Escrow() {
    for (const auto& [tenant, rest] : balance_) {
        if (rest > 0) source_.give_back(tenant, rest);
    }
}

bool Escrow::cover(const TenantId& tenant, policies::PicoMoney amount) {
    policies::PicoMoney& balance = balance_[tenant];
    if (balance < amount) balance += source_.lease(tenant, amount - balance);
    return balance >= amount;
}

Result<void> Escrow::open(const TenantId& tenant) {
    if (cover(tenant, 1)) return {};
    return Error{Errc::tenant_quota, "create", "the tenant's budget is used up"}.fact("limit", std::string{"budget"});
}

bool Escrow::spend(const TenantId& tenant, policies::PicoMoney amount) {
    const bool covered = cover(tenant, amount);
    balance_[tenant] -= amount;
    return covered;
}

}  // namespace sandboxd::engine
