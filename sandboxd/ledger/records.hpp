#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policies/denial.hpp"
#include "policies/limits.hpp"
#include "sandboxd/core/clock.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/ledger/database.hpp"

namespace sandboxd::ledger {

struct TenantRecord {
    TenantId id;
    policies::TenantLimits limits;
    WallTime created;
};

// The key itself is shown once, when it is made: "sbx_" + 43 characters of base64url (256 random
// bits). Stored is its SHA-256; a slow hash would add nothing to 256 bits of entropy.
struct KeyRecord {
    KeyId id;
    TenantId tenant;
    std::array<std::byte, 32> hash{};
    std::string label;
    bool admin = false;
    WallTime created;
    std::optional<WallTime> revoked;
};

enum class OnTimeout { kill, pause };

struct SandboxRecord {
    SandboxId id;
    TenantId tenant;
    std::string template_name;
    policies::Limits limits;
    std::string network = "none";
    bool allow_root = true;
    policies::Profile profile = policies::Profile::standard;
    std::map<std::string, std::string> env;
    std::map<std::string, std::string> metadata;
    std::uint64_t timeout_s = 300;
    OnTimeout on_timeout = OnTimeout::kill;
    WallTime created;
    WallTime last_used;
    bool provisional = false;  // not confirmed: removed after 10 s without use
    bool paused = false;
    std::optional<WallTime> ended;
    std::string end_reason;  // "deleted", "timeout", "lost", ...
};

struct ExecRecord {
    SandboxId sandbox;
    std::uint64_t number = 0;
    std::string command;  // argv joined for people, at most 1 KiB
    std::string cwd;
    std::string user;
    bool pty = false;
    std::uint64_t timeout_ms = 0;
    std::uint64_t output_limit = 0;
    std::string on_output_limit;  // "truncate" or "block"
    WallTime started;
    std::optional<WallTime> ended;
    std::string status = "running";  // running exited signaled oom_killed timed_out limit lost
    std::int32_t exit_code = 0;
    std::int32_t signal = 0;
    std::uint64_t out_dropped = 0;  // bytes above the cap, as of the last time that it was written
    std::uint64_t err_dropped = 0;
    policies::Denials denials;
};

struct IdempotencyRecord {
    TenantId tenant;
    std::string key;                  // of the header, at most 255 characters
    std::string request_fingerprint;  // SHA-256 of method, path and body, hex
    std::uint32_t status = 0;         // 0: the first request is still being served
    std::string content_type;
    std::string body;
    WallTime created;
};

// Everything that the API must remember over a restart besides usage. Blocking; the engine's
// database thread. Each call is durable when it returns, and what is read is what was put, byte for
// byte; keys and values of the maps are UTF-8 (invalid_argument otherwise).
class Records {
public:
    [[nodiscard]] static Result<std::unique_ptr<Records>> open(Database& database);
    ~Records();

    [[nodiscard]] Result<void> put_tenant(const TenantRecord& tenant);  // insert or replace
    [[nodiscard]] Result<std::vector<TenantRecord>> tenants();
    // Inserts or replaces by id; conflict when another key has this hash.
    [[nodiscard]] Result<void> put_key(const KeyRecord& key);
    [[nodiscard]] Result<std::vector<KeyRecord>> keys();
    // not_found when there is no such key. A revoked key keeps the time of its first revocation.
    [[nodiscard]] Result<void> revoke_key(const KeyId& id, WallTime when);

    [[nodiscard]] Result<void> put_sandbox(const SandboxRecord& sandbox);  // insert or replace
    [[nodiscard]] Result<std::vector<SandboxRecord>>
    living_sandboxes();  // by age, the oldest first
    [[nodiscard]] Result<std::optional<SandboxRecord>> sandbox(
        const SandboxId& id);                                     // also ended ones
    [[nodiscard]] Result<void> put_exec(const ExecRecord& exec);  // insert or replace
    [[nodiscard]] Result<std::vector<ExecRecord>> execs(const SandboxId& sandbox);  // by number

    // Inserts and returns nothing, or returns the record that already holds this (tenant, key).
    [[nodiscard]] Result<std::optional<IdempotencyRecord>> claim_idempotency(
        const IdempotencyRecord& record);
    // Stores the answer. Nothing happens when the claim was dropped or pruned meanwhile.
    [[nodiscard]] Result<void> finish_idempotency(const IdempotencyRecord& record);
    [[nodiscard]] Result<void> drop_idempotency(const TenantId& tenant, const std::string& key);

    // Forgets ended sandboxes with their execs, and idempotency records, from before `before`; also
    // execs of unknown sandboxes.
    [[nodiscard]] Result<void> prune(WallTime before);

private:
    struct Impl;
    explicit Records(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace sandboxd::ledger
