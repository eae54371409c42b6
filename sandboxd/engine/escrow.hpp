#pragma once

#include <map>

#include "policies/price_book.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::engine {

// Where money comes from: a coordinator that grants it in chunks, so that spending needs no question.
class EscrowSource {
public:
    virtual ~EscrowSource() = default;
    // A part of the tenant's budget, at least `least` if that much is left; 0: nothing is left.
    [[nodiscard]] virtual policies::PicoMoney lease(const TenantId& tenant, policies::PicoMoney least) = 0;
    virtual void give_back(const TenantId& tenant, policies::PicoMoney rest) = 0;
};

// One node without a coordinator: every lease is granted.
class UnlimitedEscrow final : public EscrowSource {
public:
    policies::PicoMoney lease(const TenantId& tenant, policies::PicoMoney least) override;
    void give_back(const TenantId&, policies::PicoMoney) override {}
};

// The budgets of the tenants as this node holds them: a chunk each, refilled when it runs out. One thread.
class Escrow {
public:
    explicit Escrow(EscrowSource& source) noexcept : source_{source} {}
    ~Escrow();
    Escrow(const Escrow&) = delete;
    Escrow& operator=(const Escrow&) = delete;

    // tenant_quota when the tenant's budget is used up.
    [[nodiscard]] Result<void> open(const TenantId& tenant);
    // What was used; false when the budget does not cover it (it was used nevertheless).
    [[nodiscard]] bool spend(const TenantId& tenant, policies::PicoMoney amount);

private:
    [[nodiscard]] bool cover(const TenantId& tenant, policies::PicoMoney amount);

    EscrowSource& source_;
    std::map<TenantId, policies::PicoMoney> balance_;
};

}  // namespace sandboxd::engine
