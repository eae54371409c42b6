#include "sandboxd/ledger/journal.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace sandboxd::ledger {

namespace {

struct Field {
    const char* name;
    std::uint64_t Counters::*value;
    bool grows;
};
constexpr std::array<Field, 8> kFields{{{"wall_ns", &Counters::wall_ns, true},
                                        {"cpu_ns", &Counters::cpu_ns, true},
                                        {"memory_peak_bytes", &Counters::memory_peak_bytes, true},
                                        {"memory_kib_ms", &Counters::memory_kib_ms, true},
                                        {"disk_bytes", &Counters::disk_bytes, false},
                                        {"disk_kib_ms", &Counters::disk_kib_ms, true},
                                        {"egress_bytes", &Counters::egress_bytes, true},
                                        {"gpu_ns", &Counters::gpu_ns, true}}};

// The first figure that fell, or null.
const char* fallen(const Counters& before, const Counters& now) {
    const auto found = std::find_if(kFields.begin(), kFields.end(), [&](const Field& field) {
        return field.grows && now.*field.value < before.*field.value;
    });
    return found == kFields.end() ? nullptr : found->name;
}

Error refused(Errc code, const Sample& sample, const std::string& why) {
    const std::string exec =
        sample.exec == 0 ? std::string{} : exec_id_from_number(sample.exec).str();
    return Error{code, "ledger",
                 sample.sandbox.str() + (exec.empty() ? "" : " exec " + exec) + ": " + why}
        .fact("sandbox", sample.sandbox.str())
        .fact("exec", exec);
}

// SQLite's integers are signed.
Result<void> storable(const Sample& sample) {
    constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
    if (sample.sandbox.empty() || sample.tenant.empty()) {
        return Error{Errc::invalid_argument, "ledger", "a sample without a sandbox or a tenant"};
    }
    if (sample.exec > kMost) return refused(Errc::invalid_argument, sample, "exec out of range");
    for (const Field& field : kFields) {
        if (sample.counters.*field.value > kMost) {
            return refused(Errc::invalid_argument, sample,
                           std::string{field.name} + " out of range");
        }
    }
    return {};
}

std::string with_figures(std::string_view before, std::string_view after) {
    return std::string{before} + std::string{kFigureColumns} + std::string{after};
}

}  // namespace

Result<std::unique_ptr<Journal>> Journal::open(Database& database, NodeIdentity node,
                                               const Books& books) {
    std::unique_ptr<Journal> journal{new Journal{database, node, books}};
    SBX_CHECK(journal->prepare());
    SBX_CHECK(journal->read_sequence());
    return journal;
}

Result<void> Journal::prepare() {
    SBX_TRY(find_life_,
            database_.prepare("SELECT id, tenant, closed, first_hour, last_hour FROM lives"
                              " WHERE sandbox = ? ORDER BY id DESC LIMIT 1"));
    SBX_TRY(find_latest_, database_.prepare(with_figures(
                              "SELECT series.id, sums.time, ",
                              " FROM series JOIN sums ON sums.series = series.id"
                              " WHERE life = ? AND exec = ? ORDER BY hour DESC LIMIT 1")));
    SBX_TRY(insert_life_,
            database_.prepare("INSERT INTO lives(sandbox, tenant, closed, first_hour, last_hour)"
                              " VALUES(?1, ?2, 0, ?3, ?3) RETURNING id"));
    SBX_TRY(insert_series_,
            database_.prepare("INSERT INTO series(life, exec, first_hour, last_hour)"
                              " VALUES(?1, ?2, ?3, ?3) RETURNING id"));
    SBX_TRY(insert_row_,
            database_.prepare("INSERT INTO journal VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
    // An update in place: a row that is replaced is written to the index again.
    SBX_TRY(put_sum_,
            database_.prepare(with_figures("INSERT INTO sums VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)"
                                           " ON CONFLICT DO UPDATE SET (time, ",
                                           ") = (?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)")));
    SBX_TRY(grow_life_, database_.prepare("UPDATE lives SET last_hour = max(last_hour, ?2),"
                                          " first_hour = min(first_hour, ?2) WHERE id = ?1"));
    SBX_TRY(grow_series_, database_.prepare("UPDATE series SET last_hour = ?2 WHERE id = ?1"));
    SBX_TRY(end_life_, database_.prepare("UPDATE lives SET closed = 1 WHERE id = ?"));
    return {};
}

Result<void> Journal::read_sequence() {
    SBX_TRY(Statement top,
            database_.prepare(
                "SELECT max(seq) FROM (SELECT seq FROM marks WHERE node = ?1 AND epoch = ?2"
                " UNION ALL SELECT max(seq) FROM journal WHERE node = ?1 AND epoch = ?2)"));
    SBX_CHECK(top.bind(1, std::int64_t{node_.node}).bind(2, std::int64_t{node_.epoch}).step());
    sequence_ = top.integer(0);  // NULL reads as 0
    return {};
}

Result<Journal::Life*> Journal::current_life(const std::string& sandbox) {
    if (const auto known = lives_.find(sandbox); known != lives_.end()) return &known->second;
    const StatementUse find{find_life_};
    SBX_TRY(const bool found, find->bind(1, std::string_view{sandbox}).step());
    if (!found) return static_cast<Life*>(nullptr);
    Life life{find->integer(0), find->text(1),    find->integer(2) != 0,
              find->integer(3), find->integer(4), {}};
    return &lives_.insert_or_assign(sandbox, std::move(life)).first->second;
}

Result<Journal::Latest*> Journal::latest_of(Life& life, std::uint64_t exec) {
    if (const auto known = life.latest.find(exec); known != life.latest.end())
        return &known->second;
    const StatementUse find{find_latest_};
    SBX_TRY(const bool found,
            find->bind(1, life.id).bind(2, static_cast<std::int64_t>(exec)).step());
    if (!found) return static_cast<Latest*>(nullptr);
    const Latest latest{find->integer(0), Reading{find->integer(1), read_figures(*find, 2)}};
    return &life.latest.emplace(exec, latest).first->second;
}

Result<Journal::Life*> Journal::open_life(const Sample& sample) {
    const std::int64_t hour = hour_of(nanos(sample.time));
    const StatementUse insert{insert_life_};
    insert->bind(1, std::string_view{sample.sandbox.str()})
        .bind(2, std::string_view{sample.tenant.str()})
        .bind(3, hour);
    SBX_CHECK(insert->step());
    Life life{insert->integer(0), sample.tenant.str(), false, hour, hour, {}};
    return &lives_.insert_or_assign(sample.sandbox.str(), std::move(life)).first->second;
}

Result<Journal::Latest*> Journal::open_series(Life& life, const Sample& sample) {
    const std::int64_t time = nanos(sample.time);
    const StatementUse insert{insert_series_};
    insert->bind(1, life.id).bind(2, static_cast<std::int64_t>(sample.exec)).bind(3, hour_of(time));
    SBX_CHECK(insert->step());
    const Latest latest{insert->integer(0), Reading{time, {}}};
    return &life.latest.emplace(sample.exec, latest).first->second;
}

// The life that a sample belongs to. Within one, figures never fall and the tenant stays; once the
// sandbox has had its final row, either of the two means that its id is in use again. A late row of
// the ended life shows neither, so it can't be charged a second time from zero.
Result<Journal::Life*> Journal::life_for(const Sample& sample) {
    SBX_TRY(Life * life, current_life(sample.sandbox.str()));
    if (life == nullptr) return open_life(sample);
    const bool other_tenant = life->tenant != sample.tenant.str();
    SBX_TRY(const Latest* latest, latest_of(*life, sample.exec));
    const char* fell =
        latest == nullptr ? nullptr : fallen(latest->reading.figures.counters, sample.counters);
    if (!other_tenant && fell == nullptr) return life;
    if (life->closed) return open_life(sample);
    if (other_tenant) {
        return refused(Errc::conflict, sample,
                       "belongs to tenant " + life->tenant + ", not " + sample.tenant.str());
    }
    return refused(Errc::conflict, sample, std::string{fell} + " went back");
}

Reading Journal::next_reading(const Latest& before, const Sample& sample) const {
    const auto price = [&](const Counters& counters) {
        return sample.exec == 0 ? cost_of(counters, books_.current())
                                : exec_cost_of(counters, books_.current());
    };
    const Figures& old = before.reading.figures;
    Reading out;
    // The wall clock may be set back; the order of the rows of a series stays that of their making.
    out.time = std::max(nanos(sample.time), before.reading.time);
    out.figures.counters = sample.counters;
    // Only the increment is priced by the book of today. With one book this is cost_of(counters).
    const policies::PicoMoney increment = price(sample.counters) - price(old.counters);
    if (__builtin_add_overflow(old.cost, increment, &out.figures.cost)) {
        out.figures.cost = std::numeric_limits<policies::PicoMoney>::max();
    }
    out.figures.book = books_.current_id();
    return out;
}

Result<void> Journal::write(const Sample& sample) {
    SBX_CHECK(storable(sample));
    SBX_TRY(Life * life, life_for(sample));
    SBX_TRY(Latest * latest, latest_of(*life, sample.exec));
    if (latest == nullptr) {
        SBX_TRY(latest, open_series(*life, sample));
    }
    const std::int64_t hour_before = hour_of(latest->reading.time);
    latest->reading = next_reading(*latest, sample);
    SBX_CHECK(write_row(sample, *latest));
    SBX_CHECK(write_sum(*life, *latest, hour_before));
    if (sample.final && sample.exec == 0) return close_life(*life);
    return {};
}

Result<void> Journal::write_row(const Sample& sample, const Latest& row) {
    insert_row_.bind(1, std::int64_t{node_.node})
        .bind(2, std::int64_t{node_.epoch})
        .bind(3, ++sequence_)
        .bind(4, row.series)
        .bind(5, row.reading.time)
        .bind(6, std::int64_t{sample.final ? 1 : 0});
    bind_figures(insert_row_, 7, row.reading.figures);
    return insert_row_.run();
}

Result<void> Journal::write_sum(Life& life, const Latest& row, std::int64_t hour_before) {
    const std::int64_t hour = hour_of(row.reading.time);
    put_sum_.bind(1, hour).bind(2, row.series).bind(3, row.reading.time);
    bind_figures(put_sum_, 4, row.reading.figures);
    SBX_CHECK(put_sum_.run());
    if (hour != hour_before) SBX_CHECK(grow_series_.bind(1, row.series).bind(2, hour).run());
    if (hour >= life.first_hour && hour <= life.last_hour) return {};
    life.first_hour = std::min(life.first_hour, hour);
    life.last_hour = std::max(life.last_hour, hour);
    return grow_life_.bind(1, life.id).bind(2, hour).run();
}

Result<void> Journal::close_life(Life& life) {
    if (life.closed) return {};
    life.closed = true;
    return end_life_.bind(1, life.id).run();
}

Result<void> Journal::write_all(std::span<const Sample> samples) {
    SBX_TRY(Transaction transaction, Transaction::begin(database_));
    for (const Sample& sample : samples) SBX_CHECK(write(sample));
    return transaction.commit();
}

Result<void> Journal::append(std::span<const Sample> samples) {
    if (samples.empty()) return {};
    const std::int64_t sequence = sequence_;
    auto written = write_all(samples);
    if (written) {
        forget_ended(samples);
    } else {
        sequence_ = sequence;
        lives_.clear();  // they may be ahead of the database now
    }
    return written;
}

// What has ended is not asked for again; for a straggler it is read from the database.
void Journal::forget_ended(std::span<const Sample> samples) {
    for (const Sample& sample : samples) {
        const auto known = lives_.find(sample.sandbox.str());
        if (known == lives_.end()) continue;
        if (known->second.closed) {
            lives_.erase(known);
        } else if (sample.final) {
            known->second.latest.erase(sample.exec);
        }
    }
}

Result<std::optional<Counters>> Journal::last(const SandboxId& sandbox, std::uint64_t exec) {
    SBX_TRY(Life * life, current_life(sandbox.str()));
    if (life == nullptr) return std::optional<Counters>{};
    SBX_TRY(const Latest* latest, latest_of(*life, exec));
    std::optional<Counters> out;
    if (latest != nullptr) out = latest->reading.figures.counters;
    if (life->closed) lives_.erase(sandbox.str());
    return out;
}

}  // namespace sandboxd::ledger
