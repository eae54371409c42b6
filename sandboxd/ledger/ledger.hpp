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

// One reading. `exec` 0: the sandbox as a whole (execs and idle); otherwise that exec's own
// figures, which are part of the sandbox's. Cumulative, so that a repeated or a lost row changes no
// sum. In a batch, execs come before their sandbox: read later, it has at least what they had.
struct Sample {
    SandboxId sandbox;
    TenantId tenant;
    std::uint64_t exec = 0;
    WallTime time;
    Counters counters;
    bool final = false;  // the last row of this sandbox or exec; after a sandbox's, its id may
                         // begin a new life
};

enum class GroupBy { tenant, sandbox, exec, day };

// A period is [from, to): a row counts where its time is. What a sandbox used in it is its last row
// before `to` minus its last row before `from`; nothing is interpolated. Sums over sandboxes,
// tenants and days are therefore equal to `total`, in every figure and to the last pico-unit of
// money. Days are UTC.
//
// By exec, an exec is looked at as of its sandbox's rows, and "idle" is the sandbox minus its
// execs; these too add up exactly. Where readings differ by the moment between them, an exec is cut
// to what its sandbox has left, so that idle is never negative. Two figures do not add up: wall
// time (execs overlap; idle's is the sandbox's minus the execs', at least 0) and the peak (a
// maximum; idle has the sandbox's). Wall time is priced once, for the sandbox.
//
// disk_bytes is the last value: it adds up over sandboxes and not over days.
struct UsageQuery {
    std::optional<TenantId> tenant;  // none: all tenants (admin)
    std::optional<SandboxId> sandbox;
    WallTime from;
    WallTime to;
    GroupBy group_by = GroupBy::tenant;
    std::size_t limit = 1000;  // at least 1
    std::string cursor;        // from the last page, "" for the first
};

struct UsageRow {
    std::string tenant;
    std::string
        sandbox;  // group_by sandbox and exec; one row, or one set of rows, for each life of an id
    std::string exec;  // group_by exec: an exec id, or "idle" for what no exec accounts for
    std::string day;   // group_by day: 2026-01-31; a row for each day and tenant
    Usage usage;       // of the period: differences of cumulative figures (peak: the largest seen)
};

// Sorted by tenant; by sandbox; by sandbox and exec, idle last; by day and tenant.
struct UsagePage {
    std::vector<UsageRow> rows;
    Usage total;  // over all pages
    std::string next_cursor;
};

// The usage journal: append-only rows (node, epoch, seq) with cumulative counters, and the sums
// made from it. The consumer of the journal is append() itself: in the same transaction it puts
// each row's figures into the sums of their hour, which is idempotent, so that the two can't
// differ. Blocking; used from one thread at a time (the engine's database thread).
//
// Each increment is priced by the book of its time: after a change of the book, old periods cost
// what they did.
class Ledger {
public:
    // Creates or migrates its tables in `database`, which must outlive it. incompatible for a
    // database of a newer sandboxd or in another currency; conflict when the book's name@version is
    // on record with other prices.
    [[nodiscard]] static Result<std::unique_ptr<Ledger>> open(Database& database, NodeIdentity node,
                                                              policies::PriceBook book);
    ~Ledger();

    // One transaction, durable when it returns (WAL, synchronous=NORMAL: against a crash of the
    // process, not of the power). A figure below the last recorded one of the same sandbox or exec
    // is refused (conflict): counters grow. So is a living sandbox's change of tenant. After the
    // sandbox's final row either of them begins a new life of the id. Refused is the whole batch;
    // the facts `sandbox` and `exec` name the row. A row that is older than the last one of its
    // sandbox or exec (the wall clock was set back) is recorded at the time of that one.
    [[nodiscard]] Result<void> append(std::span<const Sample> samples);
    // The last recorded figures: where a restarted daemon goes on.
    [[nodiscard]] Result<std::optional<Counters>> last(const SandboxId& sandbox,
                                                       std::uint64_t exec);
    [[nodiscard]] Result<UsagePage> query(const UsageQuery& query);
    // Drops journal rows of whole hours that ended before `before` and keeps what they said in a
    // fifth of the space. No answer changes, not by a nanosecond of a bound. Takes about 5 s for a
    // million rows.
    [[nodiscard]] Result<void> compact(WallTime before);
    // A part of it that holds the database for a fraction of a second; false when nothing is left
    // to do.
    [[nodiscard]] Result<bool> compact_some(WallTime before);
    [[nodiscard]] const policies::PriceBook& price_book() const noexcept;

private:
    struct Impl;
    explicit Ledger(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace sandboxd::ledger
