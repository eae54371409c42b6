#include "sandboxd/ledger/compaction.hpp"

#include <vector>

#include "sandboxd/ledger/figures.hpp"
#include "sandboxd/ledger/packed_rows.hpp"

namespace sandboxd::ledger {

namespace {

// An hour of one series has up to 3600 rows: this bounds how long an append waits, and the
// write-ahead log.
constexpr int kHoursPerTransaction = 8;

class Compaction {
public:
    Compaction(Database& database, std::int64_t time)
        : database_{database}, end_hour_{hour_of(time)} {}

    Result<void> prepare();
    // False when nothing is left to do.
    Result<bool> some_hours();

private:
    // Moves on to the next series and hour before the end that has rows in the journal.
    Result<bool> find_next();
    Result<void> pack_hour();
    Result<std::vector<Reading>> rows_of_hour();

    Database& database_;
    std::int64_t end_hour_;
    std::int64_t series_ = INT64_MIN;
    std::int64_t hour_ = 0;
    Statement next_series_, oldest_, packed_, rows_, mark_, put_, drop_;
};

Result<void> Compaction::prepare() {
    SBX_TRY(next_series_, database_.prepare("SELECT min(series) FROM journal WHERE series >= ?"));
    SBX_TRY(oldest_, database_.prepare("SELECT min(time) FROM journal WHERE series = ?"));
    SBX_TRY(packed_, database_.prepare("SELECT rows FROM packed WHERE series = ? AND hour = ?"));
    SBX_TRY(rows_, database_.prepare("SELECT time, " + std::string{kFigureColumns} +
                                     " FROM journal WHERE series = ? AND time >= ? AND time < ?"
                                     " ORDER BY time, epoch, seq"));
    SBX_TRY(mark_,
            database_.prepare("INSERT INTO marks SELECT node, epoch, max(seq) FROM journal"
                              " WHERE series = ? AND time >= ? AND time < ? GROUP BY node, epoch"
                              " ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)"));
    SBX_TRY(put_, database_.prepare("INSERT OR REPLACE INTO packed VALUES(?, ?, ?)"));
    SBX_TRY(drop_,
            database_.prepare("DELETE FROM journal WHERE series = ? AND time >= ? AND time < ?"));
    return {};
}

Result<bool> Compaction::find_next() {
    for (;;) {
        {
            const StatementUse next{next_series_};
            SBX_CHECK(next->bind(1, series_).step());
            if (next->is_null(0)) return false;
            series_ = next->integer(0);
        }
        const StatementUse oldest{oldest_};
        SBX_CHECK(oldest->bind(1, series_).step());
        hour_ = hour_of(oldest->integer(0));
        if (hour_ < end_hour_) return true;
        ++series_;
    }
}

Result<std::vector<Reading>> Compaction::rows_of_hour() {
    std::vector<Reading> out;
    {
        // There already when rows came after their hour was packed: the wall clock had been set
        // back.
        const StatementUse packed{packed_};
        SBX_TRY(const bool found, packed->bind(1, series_).bind(2, hour_).step());
        if (found) {
            SBX_TRY(out, unpack(packed->text(0)));
        }
    }
    const StatementUse rows{rows_};
    rows->bind(1, series_).bind(2, hour_ * kNanosPerHour).bind(3, (hour_ + 1) * kNanosPerHour);
    for (;;) {
        SBX_TRY(const bool row, rows->step());
        if (!row) return out;
        out.push_back({rows->integer(0), read_figures(*rows, 1)});
    }
}

Result<void> Compaction::pack_hour() {
    SBX_TRY(const auto readings, rows_of_hour());
    const std::string bytes = pack(readings);
    const std::int64_t from = hour_ * kNanosPerHour;
    const std::int64_t to = from + kNanosPerHour;
    SBX_CHECK(
        put_.bind(1, series_).bind(2, hour_).bind_blob(3, std::as_bytes(std::span{bytes})).run());
    SBX_CHECK(mark_.bind(1, series_).bind(2, from).bind(3, to).run());
    return drop_.bind(1, series_).bind(2, from).bind(3, to).run();
}

Result<bool> Compaction::some_hours() {
    SBX_TRY(Transaction transaction, Transaction::begin(database_));
    bool more = true;
    for (int i = 0; i < kHoursPerTransaction && more; ++i) {
        SBX_TRY(more, find_next());
        if (more) SBX_CHECK(pack_hour());
    }
    SBX_CHECK(transaction.commit());
    return more;
}

}  // namespace

Result<bool> compact_some_hours(Database& database, std::int64_t time) {
    Compaction compaction{database, time};
    SBX_CHECK(compaction.prepare());
    return compaction.some_hours();
}

}  // namespace sandboxd::ledger
