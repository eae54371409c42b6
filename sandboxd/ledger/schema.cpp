#include "sandboxd/ledger/schema.hpp"

#include <array>

namespace sandboxd::ledger {

namespace {

// The ten figures stand in every table in one order (kFigureColumns).
#define SBX_FIGURES                                                                               \
    " wall_ns INTEGER NOT NULL, cpu_ns INTEGER NOT NULL, memory_peak_bytes INTEGER NOT NULL,"     \
    " memory_kib_ms INTEGER NOT NULL, disk_bytes INTEGER NOT NULL, disk_kib_ms INTEGER NOT NULL," \
    " egress_bytes INTEGER NOT NULL, gpu_ns INTEGER NOT NULL, cost INTEGER NOT NULL, book "       \
    "INTEGER NOT NULL,"

constexpr std::array<const char*, 1> kMigrations{
    // A price book that has priced something. `prices` is its whole meaning, so that a name@version
    // keeps it.
    "CREATE TABLE books(id INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL,"
    " currency TEXT NOT NULL, prices TEXT NOT NULL, UNIQUE(name, version)) STRICT;"

    // One life of a sandbox: an id that a caller chose can be used again, later and by another
    // tenant. The hours
    // bound its rows, so that a query for a period looks at few lives.
    "CREATE TABLE lives(id INTEGER PRIMARY KEY, sandbox TEXT NOT NULL, tenant TEXT NOT NULL,"
    " closed INTEGER NOT NULL, first_hour INTEGER NOT NULL, last_hour INTEGER NOT NULL) STRICT;"
    "CREATE INDEX lives_sandbox ON lives(sandbox, id);"
    "CREATE INDEX lives_tenant ON lives(tenant, last_hour);"
    "CREATE INDEX lives_hour ON lives(last_hour);"

    // One run of cumulative counters: exec 0 is the sandbox as a whole. Rows of the tables below
    // name a series without
    // a foreign key: series are never deleted, and a check for every row would cost as much as the
    // row.
    "CREATE TABLE series(id INTEGER PRIMARY KEY, life INTEGER NOT NULL REFERENCES lives(id), exec "
    "INTEGER NOT NULL,"
    " first_hour INTEGER NOT NULL, last_hour INTEGER NOT NULL, UNIQUE(life, exec)) STRICT;"

    "CREATE TABLE journal(node INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,"
    " series INTEGER NOT NULL, time INTEGER NOT NULL, final INTEGER NOT NULL," SBX_FIGURES
    " PRIMARY KEY(node, epoch, seq)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX journal_series ON journal(series, time, epoch, seq);"

    // The figures at the end of each hour in which a series has rows. By hour first: a second of
    // all series then rewrites
    // a few neighbouring pages instead of one page for each series. The index is written once for a
    // series and hour.
    "CREATE TABLE sums(hour INTEGER NOT NULL, series INTEGER NOT NULL, time INTEGER NOT "
    "NULL," SBX_FIGURES
    " PRIMARY KEY(hour, series)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX sums_series ON sums(series, hour);"

    // The rows of an hour that compaction took out of the journal.
    "CREATE TABLE packed(series INTEGER NOT NULL, hour INTEGER NOT NULL, rows BLOB NOT NULL,"
    " PRIMARY KEY(series, hour)) STRICT;"

    // The highest sequence number that compaction took out of the journal: numbers are never given
    // twice.
    "CREATE TABLE marks(node INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,"
    " PRIMARY KEY(node, epoch)) STRICT, WITHOUT ROWID;"};

#undef SBX_FIGURES

}  // namespace

std::span<const char* const> ledger_migrations() noexcept {
    return kMigrations;
}

}  // namespace sandboxd::ledger
