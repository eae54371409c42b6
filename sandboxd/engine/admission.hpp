#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "policies/limits.hpp"
#include "sandboxd/control/node.hpp"
#include "sandboxd/core/clock.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::engine {

// So many a second, with a burst of twice that. A value.
class TokenBucket {
public:
    explicit TokenBucket(SteadyTime now) noexcept : at_{now} {}
    // False: none is left; `wait` says for how long.
    [[nodiscard]] bool take(std::uint32_t per_second, SteadyTime now, std::chrono::milliseconds& wait) noexcept;

private:
    SteadyTime at_;
    double tokens_ = -1;  // full at the first use
};

// Decides who may have a sandbox: the tenant's quota and rate, the node's room. What it grants is a lease, taken before
// anything is made and given back by its destructor. No I/O; refusals carry the reason and the facts. One thread.
class Admission {
    struct State;

public:
    class Lease {
    public:
        Lease() = default;
        Lease(Lease&& other) noexcept;
        Lease& operator=(Lease&& other) noexcept;
        ~Lease();

    private:
        friend class Admission;
        std::shared_ptr<State> state_;
        TenantId tenant_;
        policies::Limits limits_;
    };

    Admission();

    // draining, rate_limited, tenant_quota, node_full, limit_exceeded (above the tenant's ceiling for one sandbox).
    [[nodiscard]] Result<Lease> admit(const TenantId& tenant, const policies::TenantLimits& ceiling, const policies::Limits& asked,
                                      SteadyTime now);
    // For a sandbox that lives already: always granted.
    [[nodiscard]] Lease adopt(const TenantId& tenant, const policies::Limits& limits);
    // The same sandbox with other limits. Unchanged when refused.
    [[nodiscard]] Result<void> resize(Lease& lease, const policies::TenantLimits& ceiling, const policies::Limits& asked);

    void set_node(const control::NodeStatus& status);
    void cordon(bool on) noexcept { cordoned_ = on; }
    [[nodiscard]] bool cordoned() const noexcept { return cordoned_; }
    [[nodiscard]] const std::map<std::string, std::uint64_t>& refusals() const noexcept { return refusals_; }

private:
    enum class For { new_sandbox, other_limits };
    [[nodiscard]] Result<void> check_tenant(const TenantId& tenant, const policies::TenantLimits& ceiling, const policies::Limits& asked,
                                            const policies::Limits& held, For purpose) const;
    [[nodiscard]] Result<void> check_node(const policies::Limits& asked) const;
    Error refuse(Error error);

    std::shared_ptr<State> state_;
    control::NodeStatus node_;
    bool node_known_ = false;
    bool cordoned_ = false;
    std::uint64_t admitted_since_status_ = 0;
    std::map<TenantId, TokenBucket> buckets_;
    std::map<std::string, std::uint64_t> refusals_;
};

}  // namespace sandboxd::engine
