#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policies/seccomp_profile.hpp"
#include "sandboxd/control/node.hpp"
#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/sandbox.hpp"
#include "sandboxd/ledger/ledger.hpp"
#include "sandboxd/ledger/records.hpp"

namespace sandboxd::engine {

struct EngineConfig {
    std::string state_dir;        // writable by this process: holds state.db and spool/
    NodeIdentity node;
    policies::PriceBook price_book;
    std::array<policies::SeccompProfile, policies::kProfiles> profiles;   // by policies::Profile: what denials quote
    std::uint64_t spool_bytes_per_sandbox = 16ULL << 30;  // over all streams; the oldest finished execs are dropped
    std::uint32_t finished_execs_kept = 64;
    std::uint32_t execs_per_sandbox = 128;                // living
};

struct CreateRequest {
    std::optional<SandboxId> id;   // chosen by the caller: creating it again with the same values gives the same sandbox
    std::string template_name = "host";
    policies::Limits limits;
    std::string network = "none";
    bool allow_root = true;
    policies::Profile profile = policies::Profile::standard;
    std::map<std::string, std::string> env;
    std::map<std::string, std::string> metadata;
    std::uint64_t timeout_s = 300;
    ledger::OnTimeout on_timeout = ledger::OnTimeout::kill;
    bool provisional = false;
};

struct SandboxFilter {
    std::map<std::string, std::string> metadata;  // all of these pairs
    std::optional<SandboxState> state;
};

struct EngineStats {  // for /metrics
    std::uint64_t sandboxes = 0;
    std::uint64_t execs_running = 0;
    std::uint64_t creates_total = 0;
    std::uint64_t create_failures_total = 0;
    std::uint64_t execs_total = 0;
    std::uint64_t ledger_rows_total = 0;
    std::uint64_t spool_bytes = 0;
    std::map<std::string, std::uint64_t> refusals_total;  // admission, by reason
    std::vector<double> create_seconds;                   // since the last call: for the histogram
};

// Sandboxes, their execs, outputs, files, time to live, admission and metering: everything behind the API that is not
// HTTP. One executor, one thread; blocking work in its own small pool. Lives as long as the API process.
class Engine {
public:
    // Opens the state, asks the node for what lives, takes up every exec and stream where it was (offsets are file
    // sizes), removes sandboxes that it has no record of, and marks as lost what the node no longer has.
    [[nodiscard]] static asio::awaitable<Result<std::unique_ptr<Engine>>> start(asio::any_io_executor executor, EngineConfig config,
                                                                               control::Node& node);
    virtual ~Engine() = default;

    // Admission (tenant_quota, rate_limited, node_full, draining; facts say the free capacity), then the node.
    [[nodiscard]] virtual asio::awaitable<Result<SandboxPtr>> create(TenantId tenant, CreateRequest request, Deadline deadline) = 0;
    // not_found also for another tenant's; gone for one that has ended and is remembered.
    [[nodiscard]] virtual Result<SandboxPtr> find(const TenantId& tenant, const SandboxId& id) = 0;
    // Sorted by creation, newest first; equal ones by id, the greatest first.
    [[nodiscard]] virtual std::vector<SandboxPtr> list(const TenantId& tenant, const SandboxFilter& filter) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<void>> destroy(SandboxPtr sandbox, std::string reason, Deadline deadline) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<ledger::UsagePage>> usage(ledger::UsageQuery query) = 0;

    // Tenants and keys; cached in memory, written through.
    [[nodiscard]] virtual std::optional<ledger::TenantRecord> tenant(const TenantId& id) const = 0;
    [[nodiscard]] virtual std::vector<ledger::TenantRecord> tenants() const = 0;
    [[nodiscard]] virtual asio::awaitable<Result<void>> put_tenant(ledger::TenantRecord tenant) = 0;
    [[nodiscard]] virtual std::vector<ledger::KeyRecord> keys() const = 0;
    // The record of a key that is valid now, found by hash in constant time.
    [[nodiscard]] virtual std::optional<ledger::KeyRecord> authenticate(std::string_view key) const = 0;
    struct NewKey {
        std::string secret;  // shown once
        ledger::KeyRecord record;
    };
    [[nodiscard]] virtual asio::awaitable<Result<NewKey>> create_key(TenantId tenant, std::string label, bool admin) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<void>> revoke_key(KeyId id) = 0;
    // Stores a key that the configuration or --dev gives (its hash); idempotent.
    [[nodiscard]] virtual asio::awaitable<Result<void>> ensure_key(TenantId tenant, std::string secret, std::string label, bool admin) = 0;

    [[nodiscard]] virtual asio::awaitable<Result<std::optional<ledger::IdempotencyRecord>>> claim_idempotency(ledger::IdempotencyRecord record) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<void>> finish_idempotency(ledger::IdempotencyRecord record) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<void>> drop_idempotency(TenantId tenant, std::string key) = 0;

    // Cordon: refuse creates (draining), keep the rest going. Drain: cordon, then completes when no exec runs or at
    // the deadline; living sandboxes stay.
    virtual void cordon(bool on) = 0;
    [[nodiscard]] virtual bool cordoned() const = 0;
    [[nodiscard]] virtual asio::awaitable<void> drain(Deadline deadline) = 0;

    [[nodiscard]] virtual asio::awaitable<Result<control::NodeStatus>> node_status() = 0;
    [[nodiscard]] virtual asio::awaitable<Result<control::Attestation>> attest(control::AttestRequest request, Deadline deadline) = 0;
    [[nodiscard]] virtual EngineStats stats() = 0;
    // Last samples to the ledger, files closed. Sandboxes go on.
    [[nodiscard]] virtual asio::awaitable<void> stop() = 0;
};

}  // namespace sandboxd::engine
