#include "sandboxd/engine/admission.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace sandboxd::engine {

namespace {

// What a sandbox takes as soon as it is made, until the next look at the node shows it.
constexpr std::uint64_t kFootprint = 16ULL << 20;

struct Over {
    Errc code;
    const char* limit;
    std::uint64_t asked;
    std::uint64_t allowed;
    std::uint64_t used;
};

std::uint64_t left(std::uint64_t allowed, std::uint64_t used) { return allowed > used ? allowed - used : 0; }

Error over(const Over& what, const char* why) {
    return Error{what.code, "create", why}
        .fact("limit", std::string{what.limit})
        .fact("asked", static_cast<std::int64_t>(what.asked))
        .fact("allowed", static_cast<std::int64_t>(what.allowed))
        .fact("free", static_cast<std::int64_t>(left(what.allowed, what.used)));
}

}  // namespace

bool TokenBucket::take(std::uint32_t per_second, SteadyTime now, std::chrono::milliseconds& wait) noexcept {
    const double rate = std::max(per_second, 1U);
    const double burst = 2 * rate;
    const double passed = now > at_ ? std::chrono::duration<double>{now - at_}.count() : 0;
    tokens_ = tokens_ < 0 ? burst : std::min(burst, tokens_ + passed * rate);
    at_ = std::max(at_, now);
    if (tokens_ >= 1) {
        tokens_ -= 1;
        return true;
    }
    wait = std::chrono::milliseconds{static_cast<std::int64_t>(std::ceil((1 - tokens_) / rate * 1000))};
    return false;
}

struct Admission::State {
    struct Held {
        std::uint32_t sandboxes = 0;
        std::uint64_t cpu_milli = 0;
        std::uint64_t memory_bytes = 0;
    };
    std::map<TenantId, Held> tenants;
    std::uint32_t sandboxes = 0;

    void add(const TenantId& tenant, const policies::Limits& limits) {
        Held& held = tenants[tenant];
        ++held.sandboxes;
        ++sandboxes;
        held.cpu_milli += limits.cpu_milli;
        held.memory_bytes += limits.memory_bytes;
    }
    void remove(const TenantId& tenant, const policies::Limits& limits) {
        const auto found = tenants.find(tenant);
        if (found == tenants.end()) return;
        --sandboxes;
        found->second.cpu_milli -= limits.cpu_milli;
        found->second.memory_bytes -= limits.memory_bytes;
        if (--found->second.sandboxes == 0) tenants.erase(found);
    }
    [[nodiscard]] Held of(const TenantId& tenant) const {
        const auto found = tenants.find(tenant);
        return found == tenants.end() ? Held{} : found->second;
    }
};

Admission::Lease::Lease(Lease&& other) noexcept
    : state_{std::move(other.state_)}, tenant_{std::move(other.tenant_)}, limits_{other.limits_} {}

Admission::Lease& Admission::Lease::operator=(Lease&& other) noexcept {
    Lease old{std::move(*this)};
    state_ = std::move(other.state_);
    tenant_ = std::move(other.tenant_);
    limits_ = other.limits_;
    return *this;
}

Admission::Lease::~Lease() {
    if (state_) state_->remove(tenant_, limits_);
}

Admission::Admission() : state_{std::make_shared<State>()} {}

Error Admission::refuse(Error error) {
    ++refusals_[std::string{to_string(error.errc())}];
    return error;
}

Result<void> Admission::check_tenant(const TenantId& tenant, const policies::TenantLimits& ceiling, const policies::Limits& asked,
                                     const policies::Limits& held, For purpose) const {
    const State::Held now = state_->of(tenant);
    if (purpose == For::new_sandbox && now.sandboxes >= ceiling.sandboxes) {
        return over({Errc::tenant_quota, "sandboxes", now.sandboxes + 1ULL, ceiling.sandboxes, now.sandboxes},
                    "the tenant has as many sandboxes as it may");
    }
    const std::uint64_t cpu = now.cpu_milli - held.cpu_milli;
    if (cpu + asked.cpu_milli > ceiling.cpu_milli) {
        return over({Errc::tenant_quota, "cpu_milli", asked.cpu_milli, ceiling.cpu_milli, cpu}, "the tenant's sandboxes have as many CPUs as they may");
    }
    const std::uint64_t memory = now.memory_bytes - held.memory_bytes;
    if (memory + asked.memory_bytes > ceiling.memory_bytes) {
        return over({Errc::tenant_quota, "memory_bytes", asked.memory_bytes, ceiling.memory_bytes, memory},
                    "the tenant's sandboxes have as much memory as they may");
    }
    return {};
}

Result<void> Admission::check_node(const policies::Limits& asked) const {
    if (!node_known_) return {};  // the node itself refuses what it can't hold
    if (state_->sandboxes >= node_.sandboxes_max) {
        return over({Errc::node_full, "sandboxes_max", state_->sandboxes + 1ULL, node_.sandboxes_max, state_->sandboxes},
                    "this node runs as many sandboxes as it may");
    }
    const std::uint64_t available = left(node_.memory_available_bytes, kFootprint * admitted_since_status_);
    if (asked.memory_bytes > available) {
        return over({Errc::node_full, "memory_bytes", asked.memory_bytes, available, 0}, "this node has not as much memory free");
    }
    return {};
}

Result<Admission::Lease> Admission::admit(const TenantId& tenant, const policies::TenantLimits& ceiling, const policies::Limits& asked,
                                          SteadyTime now) {
    if (cordoned_) return refuse(Error{Errc::draining, "create", "this node takes no new sandboxes"});
    if (auto within = policies::check_limits(asked, ceiling); !within) return refuse(std::move(within).error());
    if (auto fits = check_tenant(tenant, ceiling, asked, {0, 0, 0, 0, 0}, For::new_sandbox); !fits) return refuse(std::move(fits).error());
    if (auto fits = check_node(asked); !fits) return refuse(std::move(fits).error());
    // Last, so that a refusal for another reason costs no token.
    std::chrono::milliseconds wait{};
    if (!buckets_.try_emplace(tenant, now).first->second.take(ceiling.creates_per_second, now, wait)) {
        return refuse(Error{Errc::rate_limited, "create", "the tenant makes sandboxes too fast"}
                          .fact("limit", std::string{"creates_per_second"})
                          .fact("allowed", std::int64_t{ceiling.creates_per_second})
                          .fact("retry_after_ms", std::int64_t{wait.count()}));
    }
    ++admitted_since_status_;
    return adopt(tenant, asked);
}

Admission::Lease Admission::adopt(const TenantId& tenant, const policies::Limits& limits) {
    state_->add(tenant, limits);
    Lease lease;
    lease.state_ = state_;
    lease.tenant_ = tenant;
    lease.limits_ = limits;
    return lease;
}

Result<void> Admission::resize(Lease& lease, const policies::TenantLimits& ceiling, const policies::Limits& asked) {
    if (auto within = policies::check_limits(asked, ceiling); !within) return refuse(std::move(within).error());
    if (auto fits = check_tenant(lease.tenant_, ceiling, asked, lease.limits_, For::other_limits); !fits) return refuse(std::move(fits).error());
    state_->remove(lease.tenant_, lease.limits_);
    state_->add(lease.tenant_, asked);
    lease.limits_ = asked;
    return {};
}

void Admission::set_node(const control::NodeStatus& status) {
    node_ = status;
    node_known_ = true;
    admitted_since_status_ = 0;
}

}  // namespace sandboxd::engine
