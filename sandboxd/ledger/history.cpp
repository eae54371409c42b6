#include "sandboxd/ledger/history.hpp"

#include <algorithm>

#include "sandboxd/ledger/packed_rows.hpp"

namespace sandboxd::ledger {

namespace {

std::string select_readings(std::string_view rest) {
    return "SELECT time, " + std::string{kFigureColumns} + " " + std::string{rest};
}

// Columns as select_readings() names them.
Reading read_reading(const Statement& row) {
    return Reading{row.integer(0), read_figures(row, 1)};
}

}  // namespace

Result<std::unique_ptr<History>> History::open(Database& database) {
    std::unique_ptr<History> out{new History{database}};
    SBX_TRY(out->sum_, database.prepare(select_readings(
                           "FROM sums WHERE series = ? AND hour <= ? ORDER BY hour DESC LIMIT 1")));
    SBX_TRY(out->row_, database.prepare(select_readings(
                           "FROM journal WHERE series = ? AND time >= ? AND time < ?"
                           " ORDER BY time DESC, epoch DESC, seq DESC LIMIT 1")));
    SBX_TRY(out->packed_,
            database.prepare("SELECT rows FROM packed WHERE series = ? AND hour = ?"));
    SBX_TRY(out->hours_,
            database.prepare(select_readings(
                "FROM sums WHERE series = ? AND hour >= ? AND hour < ? ORDER BY hour")));
    SBX_TRY(out->execs_,
            database.prepare(
                "SELECT exec, id FROM series WHERE life = ? AND exec > 0 AND last_hour >= ?"
                " AND first_hour <= ? ORDER BY exec"));
    return out;
}

Result<std::vector<History::Life>> History::lives(const UsageQuery& query) {
    std::string sql =
        "SELECT lives.id, sandbox, tenant, series.id FROM lives JOIN series ON series.life = "
        "lives.id AND exec = 0"
        " WHERE lives.last_hour >= ?1 AND lives.first_hour <= ?2";
    if (query.tenant) sql += " AND tenant = ?3";
    if (query.sandbox) sql += " AND sandbox = ?4";
    sql += " ORDER BY sandbox, lives.id";
    SBX_TRY(Statement rows, database_.prepare(sql));
    rows.bind(1, hour_of(nanos(query.from))).bind(2, hour_of(nanos(query.to)));
    if (query.tenant) rows.bind(3, std::string_view{query.tenant->str()});
    if (query.sandbox) rows.bind(4, std::string_view{query.sandbox->str()});
    std::vector<Life> out;
    for (;;) {
        SBX_TRY(const bool row, rows.step());
        if (!row) return out;
        out.push_back({rows.integer(0), rows.text(1), rows.text(2), rows.integer(3)});
    }
}

Result<std::vector<History::Exec>> History::execs(std::int64_t life, std::int64_t first,
                                                  std::int64_t last) {
    const StatementUse rows{execs_};
    rows->bind(1, life).bind(2, first).bind(3, last);
    std::vector<Exec> out;
    for (;;) {
        SBX_TRY(const bool row, rows->step());
        if (!row) return out;
        out.push_back({static_cast<std::uint64_t>(rows->integer(0)), rows->integer(1)});
    }
}

Result<std::optional<Reading>> History::before(std::int64_t series, std::int64_t time) {
    const std::int64_t hour = hour_of(time);
    SBX_TRY(auto last, last_until_hour(series, hour));
    if (!last || last->time < time) return last;
    // The hour of `time` has rows at or after it; older ones of the same hour are found row by row.
    SBX_TRY(auto inside, within_hour(series, time));
    if (inside) return inside;
    return last_until_hour(series, hour - 1);
}

Result<std::optional<Reading>> History::last_until_hour(std::int64_t series, std::int64_t hour) {
    const StatementUse sum{sum_};
    SBX_TRY(const bool found, sum->bind(1, series).bind(2, hour).step());
    std::optional<Reading> out;
    if (found) out = read_reading(*sum);
    return out;
}

Result<std::optional<Reading>> History::within_hour(std::int64_t series, std::int64_t time) {
    const std::int64_t hour = hour_of(time);
    std::optional<Reading> out;
    {
        const StatementUse row{row_};
        SBX_TRY(const bool found,
                row->bind(1, series).bind(2, hour * kNanosPerHour).bind(3, time).step());
        if (found) out = read_reading(*row);
    }
    if (out) return out;
    // Packed rows are older than those of the same hour that are still in the journal.
    const StatementUse packed{packed_};
    SBX_TRY(const bool found, packed->bind(1, series).bind(2, hour).step());
    if (!found) return out;
    SBX_TRY(const auto readings, unpack(packed->text(0)));
    const auto later =
        std::partition_point(readings.begin(), readings.end(),
                             [time](const Reading& reading) { return reading.time < time; });
    if (later != readings.begin()) out = *std::prev(later);
    return out;
}

Result<std::vector<Reading>> History::hours(std::int64_t series, std::int64_t first,
                                            std::int64_t end) {
    const StatementUse rows{hours_};
    rows->bind(1, series).bind(2, first).bind(3, end);
    std::vector<Reading> out;
    for (;;) {
        SBX_TRY(const bool row, rows->step());
        if (!row) return out;
        out.push_back(read_reading(*rows));
    }
}

}  // namespace sandboxd::ledger
