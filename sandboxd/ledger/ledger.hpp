#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "policies/price_book.hpp"
#include "sandboxd/core/clock.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/ledger/database.hpp"
#include "sandboxd/ledger/usage.hpp"

namespace sandboxd::ledger {

// One reading. `exec` 0: the sandbox as a whole (execs and idle); otherwise that exec's own figures, which are part of
// the sandbox's. Cumulative, so that a repeated or a lost row changes no sum.
struct Sample {
    SandboxId sandbox;
    TenantId tenant;
    std::uint64_t exec = 0;
    WallTime time;
    Counters counters;
    bool final = false;  // the last row of this sandbox or exec
};

enum class GroupBy { tenant, sandbox, exec, day };

struct UsageQuery {
    std::optional<TenantId> tenant;    // none: all tenants (admin)
    std::optional<SandboxId> sandbox;
    WallTime from;
    WallTime to;
    GroupBy group_by = GroupBy::tenant;
    std::size_t limit = 1000;
    std::string cursor;                // from the last page, "" for the first
};

struct UsageRow {
    std::string tenant;
    std::string sandbox;  // group_by sandbox and exec
    std::string exec;     // group_by exec: an exec id, or "idle" for what no exec accounts for
    std::string day;      // group_by day: 2026-01-31
    Usage usage;          // of the period: differences of cumulative figures (peak: the largest seen)
};

struct UsagePage {
    std::vector<UsageRow> rows;
    Usage total;          // over all pages
    std::string next_cursor;
};

// The usage journal: append-only rows (node, epoch, seq) with cumulative counters, and the sums made from it by an
// idempotent consumer. Blocking; used from one thread at a time (the engine's database thread).
class Ledger {
public:
    // Creates or migrates its tables in `database`, which must outlive it.
    [[nodiscard]] static Result<std::unique_ptr<Ledger>> open(Database& database, NodeIdentity node, policies::PriceBook book);
    ~Ledger();

    // One transaction, durable when it returns (WAL, synchronous=NORMAL: against a crash of the process, not of the
    // power). A figure below the last recorded one of the same sandbox or exec is refused (conflict): counters grow.
    [[nodiscard]] Result<void> append(std::span<const Sample> samples);
    // The last recorded figures: where a restarted daemon goes on.
    [[nodiscard]] Result<std::optional<Counters>> last(const SandboxId& sandbox, std::uint64_t exec);
    [[nodiscard]] Result<UsagePage> query(const UsageQuery& query);
    // Drops journal rows that are older than `before` and already in the sums.
    [[nodiscard]] Result<void> compact(WallTime before);
    [[nodiscard]] const policies::PriceBook& price_book() const noexcept;

private:
    struct Impl;
    explicit Ledger(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace sandboxd::ledger
