#include "sandboxd/ledger/ledger.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>
#include <unordered_map>

namespace sandboxd::ledger {

namespace {

constexpr std::array kMigrations{
    "CREATE TABLE journal(node INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, sandbox TEXT NOT NULL, tenant TEXT NOT NULL,"
    " exec INTEGER NOT NULL, time INTEGER NOT NULL, final INTEGER NOT NULL, wall_ns INTEGER NOT NULL, cpu_ns INTEGER NOT NULL,"
    " memory_peak_bytes INTEGER NOT NULL, memory_kib_ms INTEGER NOT NULL, disk_bytes INTEGER NOT NULL, disk_kib_ms INTEGER NOT NULL,"
    " egress_bytes INTEGER NOT NULL, gpu_ns INTEGER NOT NULL, PRIMARY KEY(node, epoch, seq)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX journal_series ON journal(sandbox, exec, time, seq);"
    "CREATE INDEX journal_time ON journal(time, tenant);"};

constexpr std::string_view kColumns = "wall_ns, cpu_ns, memory_peak_bytes, memory_kib_ms, disk_bytes, disk_kib_ms, egress_bytes, gpu_ns";

std::int64_t nanoseconds(WallTime time) { return time.time_since_epoch().count(); }

std::array<std::uint64_t, 8> fields_of(const Counters& c) {
    return {c.wall_ns, c.cpu_ns, c.memory_peak_bytes, c.memory_kib_ms, c.disk_bytes, c.disk_kib_ms, c.egress_bytes, c.gpu_ns};
}

Counters read_counters(const Statement& row, int first) {
    const auto at = [&](int i) { return static_cast<std::uint64_t>(row.integer(first + i)); };
    return Counters{at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)};
}

bool goes_back(const Counters& before, const Counters& now) {
    return now.wall_ns < before.wall_ns || now.cpu_ns < before.cpu_ns || now.memory_kib_ms < before.memory_kib_ms ||
           now.disk_kib_ms < before.disk_kib_ms || now.egress_bytes < before.egress_bytes || now.gpu_ns < before.gpu_ns ||
           now.memory_peak_bytes < before.memory_peak_bytes;
}

// What was used and what it cost, over some period.
struct Sum {
    Counters counters;
    policies::PicoMoney cost = 0;

    void add(const Sum& other) {
        Counters& a = counters;
        const Counters& b = other.counters;
        a.wall_ns += b.wall_ns;
        a.cpu_ns += b.cpu_ns;
        a.memory_peak_bytes = std::max(a.memory_peak_bytes, b.memory_peak_bytes);
        a.memory_kib_ms += b.memory_kib_ms;
        a.disk_bytes += b.disk_bytes;
        a.disk_kib_ms += b.disk_kib_ms;
        a.egress_bytes += b.egress_bytes;
        a.gpu_ns += b.gpu_ns;
        cost += other.cost;
    }
};

std::uint64_t minus(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; }

Counters difference(const Counters& end, const Counters& begin) {
    return Counters{minus(end.wall_ns, begin.wall_ns), minus(end.cpu_ns, begin.cpu_ns), end.memory_peak_bytes,
                    minus(end.memory_kib_ms, begin.memory_kib_ms), end.disk_bytes, minus(end.disk_kib_ms, begin.disk_kib_ms),
                    minus(end.egress_bytes, begin.egress_bytes), minus(end.gpu_ns, begin.gpu_ns)};
}

std::string day_of(std::int64_t ns) {
    return to_rfc3339(WallTime{std::chrono::nanoseconds{ns}}).substr(0, 10);
}

struct SeriesKey {
    std::string sandbox;
    std::uint64_t exec = 0;
    auto operator<=>(const SeriesKey&) const = default;
};

struct KeyHash {
    std::size_t operator()(const SeriesKey& key) const { return std::hash<std::string>{}(key.sandbox) * 31 + key.exec; }
};

}  // namespace

struct Ledger::Impl {
    Impl(Database& d, NodeIdentity n, policies::PriceBook b) : database{d}, node{n}, book{std::move(b)} {}

    Database& database;
    NodeIdentity node;
    policies::PriceBook book;
    std::int64_t seq = 0;
    Statement insert;
    Statement last_row;
    Statement last_before;
    std::unordered_map<SeriesKey, Counters, KeyHash> latest;  // of series that are not final

    Result<void> prepare() {
        SBX_TRY(insert, database.prepare("INSERT INTO journal VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
        const std::string columns{kColumns};
        SBX_TRY(last_row, database.prepare("SELECT " + columns + " FROM journal WHERE sandbox = ? AND exec = ? ORDER BY time DESC, seq DESC LIMIT 1"));
        SBX_TRY(last_before, database.prepare("SELECT " + columns + " FROM journal WHERE sandbox = ? AND exec = ? AND time < ? ORDER BY time DESC, seq DESC LIMIT 1"));
        SBX_TRY(Statement top, database.prepare("SELECT coalesce(max(seq), 0) FROM journal WHERE node = ? AND epoch = ?"));
        top.bind(1, std::int64_t{node.node}).bind(2, std::int64_t{node.epoch});
        SBX_TRY(const bool row, top.step());
        if (row) seq = top.integer(0);
        return {};
    }

    Result<void> write(const Sample& s) {
        insert.bind(1, std::int64_t{node.node}).bind(2, std::int64_t{node.epoch}).bind(3, ++seq).bind(4, std::string_view{s.sandbox.str()})
            .bind(5, std::string_view{s.tenant.str()}).bind(6, static_cast<std::int64_t>(s.exec)).bind(7, nanoseconds(s.time))
            .bind(8, std::int64_t{s.final ? 1 : 0});
        int position = 9;
        for (const std::uint64_t value : fields_of(s.counters)) insert.bind(position++, static_cast<std::int64_t>(value));
        return insert.run();
    }

    Result<Counters> before(const std::string& sandbox, std::uint64_t exec, std::int64_t time) {
        last_before.bind(1, std::string_view{sandbox}).bind(2, static_cast<std::int64_t>(exec)).bind(3, time);
        SBX_TRY(const bool row, last_before.step());
        const Counters out = row ? read_counters(last_before, 0) : Counters{};
        last_before.reset();
        return out;
    }

    Result<Sum> period(const std::string& sandbox, std::uint64_t exec, std::int64_t from, std::int64_t to) {
        SBX_TRY(const Counters begin, before(sandbox, exec, from));
        SBX_TRY(const Counters end, before(sandbox, exec, to));
        return Sum{difference(end, begin), cost_of(end, book) - cost_of(begin, book)};
    }

    struct Series {
        std::string sandbox;
        std::string tenant;
        std::int64_t first = 0;
        std::int64_t last = 0;
    };

    Result<std::vector<Series>> sandboxes(const UsageQuery& query) {
        std::string sql = "SELECT sandbox, min(tenant), min(time), max(time) FROM journal WHERE exec = 0 AND time >= ? AND time < ?";
        if (query.tenant) sql += " AND tenant = ?3";
        if (query.sandbox) sql += " AND sandbox = ?4";
        sql += " GROUP BY sandbox ORDER BY sandbox";
        SBX_TRY(Statement rows, database.prepare(sql));
        rows.bind(1, nanoseconds(query.from)).bind(2, nanoseconds(query.to));
        if (query.tenant) rows.bind(3, std::string_view{query.tenant->str()});
        if (query.sandbox) rows.bind(4, std::string_view{query.sandbox->str()});
        std::vector<Series> out;
        for (;;) {
            SBX_TRY(const bool row, rows.step());
            if (!row) return out;
            out.push_back({rows.text(0), rows.text(1), rows.integer(2), rows.integer(3)});
        }
    }

    Result<std::vector<std::uint64_t>> execs(const std::string& sandbox, std::int64_t from, std::int64_t to) {
        SBX_TRY(Statement rows, database.prepare("SELECT DISTINCT exec FROM journal WHERE sandbox = ? AND exec > 0 AND time >= ? AND time < ? ORDER BY exec"));
        rows.bind(1, std::string_view{sandbox}).bind(2, from).bind(3, to);
        std::vector<std::uint64_t> out;
        for (;;) {
            SBX_TRY(const bool row, rows.step());
            if (!row) return out;
            out.push_back(static_cast<std::uint64_t>(rows.integer(0)));
        }
    }

    Usage usage(const Sum& sum) const { return Usage{sum.counters, sum.cost, book.currency, book.id()}; }

    // The execs of a sandbox, and `idle`: what no exec accounts for, so that the rows add up to the sandbox. Wall time of
    // execs overlaps; idle wall time is what is left of the sandbox's, at least 0.
    Result<void> add_execs(const Series& s, const Sum& whole, const UsageQuery& query, std::vector<UsageRow>& out) {
        const std::int64_t from = nanoseconds(query.from);
        const std::int64_t to = nanoseconds(query.to);
        SBX_TRY(const auto numbers, execs(s.sandbox, from, to));
        Sum accounted;
        for (const std::uint64_t number : numbers) {
            SBX_TRY(const Sum sum, period(s.sandbox, number, from, to));
            accounted.add(sum);
            out.push_back({s.tenant, s.sandbox, exec_id_from_number(number).str(), {}, usage(sum)});
        }
        Sum idle{difference(whole.counters, accounted.counters), whole.cost - accounted.cost};
        out.push_back({s.tenant, s.sandbox, "idle", {}, usage(idle)});
        return {};
    }

    Result<void> add_days(const Series& s, const UsageQuery& query, std::map<std::pair<std::string, std::string>, Sum>& days) {
        constexpr std::int64_t kDay = 86'400'000'000'000;
        std::int64_t from = std::max(nanoseconds(query.from), s.first / kDay * kDay);
        const std::int64_t to = std::min(nanoseconds(query.to), s.last + 1);
        while (from < to) {
            const std::int64_t until = std::min(to, (from / kDay + 1) * kDay);
            SBX_TRY(const Sum sum, period(s.sandbox, 0, from, until));
            days[{day_of(from), s.tenant}].add(sum);
            from = until;
        }
        return {};
    }
};

Ledger::Ledger(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
Ledger::~Ledger() = default;

Result<std::unique_ptr<Ledger>> Ledger::open(Database& database, NodeIdentity node, policies::PriceBook book) {
    SBX_CHECK(database.migrate("ledger", kMigrations));
    auto impl = std::make_unique<Impl>(database, node, std::move(book));
    SBX_CHECK(impl->prepare());
    return std::unique_ptr<Ledger>{new Ledger{std::move(impl)}};
}

Result<void> Ledger::append(std::span<const Sample> samples) {
    for (const Sample& sample : samples) {
        SBX_TRY(const auto known, last(sample.sandbox, sample.exec));
        if (known && goes_back(*known, sample.counters)) {
            return Error{Errc::conflict, "ledger", "counters of " + sample.sandbox.str() + " went back"};
        }
    }
    SBX_TRY(Transaction transaction, Transaction::begin(impl_->database));
    for (const Sample& sample : samples) SBX_CHECK(impl_->write(sample));
    SBX_CHECK(transaction.commit());
    for (const Sample& sample : samples) {
        const SeriesKey key{sample.sandbox.str(), sample.exec};
        if (sample.final) {
            impl_->latest.erase(key);
        } else {
            impl_->latest[key] = sample.counters;
        }
    }
    return {};
}

Result<std::optional<Counters>> Ledger::last(const SandboxId& sandbox, std::uint64_t exec) {
    const auto cached = impl_->latest.find(SeriesKey{sandbox.str(), exec});
    if (cached != impl_->latest.end()) return std::optional{cached->second};
    Statement& row = impl_->last_row;
    row.bind(1, std::string_view{sandbox.str()}).bind(2, static_cast<std::int64_t>(exec));
    SBX_TRY(const bool found, row.step());
    std::optional<Counters> out;
    if (found) out = read_counters(row, 0);
    row.reset();
    return out;
}

Result<UsagePage> Ledger::query(const UsageQuery& query) {
    SBX_TRY(const auto series, impl_->sandboxes(query));
    std::vector<UsageRow> rows;
    std::map<std::string, Sum> tenants;
    std::map<std::pair<std::string, std::string>, Sum> days;
    Sum total;
    for (const Impl::Series& s : series) {
        SBX_TRY(const Sum sum, impl_->period(s.sandbox, 0, nanoseconds(query.from), nanoseconds(query.to)));
        total.add(sum);
        switch (query.group_by) {
            case GroupBy::tenant: tenants[s.tenant].add(sum); break;
            case GroupBy::sandbox: rows.push_back({s.tenant, s.sandbox, {}, {}, impl_->usage(sum)}); break;
            case GroupBy::exec: SBX_CHECK(impl_->add_execs(s, sum, query, rows)); break;
            case GroupBy::day: SBX_CHECK(impl_->add_days(s, query, days)); break;
        }
    }
    for (const auto& [tenant, sum] : tenants) rows.push_back({tenant, {}, {}, {}, impl_->usage(sum)});
    for (const auto& [key, sum] : days) rows.push_back({key.second, {}, {}, key.first, impl_->usage(sum)});

    UsagePage page;
    page.total = impl_->usage(total);
    std::size_t start = 0;
    const char* end = query.cursor.data() + query.cursor.size();
    if (!query.cursor.empty() && std::from_chars(query.cursor.data(), end, start).ptr != end) {
        return Error{Errc::invalid_argument, "cursor", "not one of this list"};
    }
    for (std::size_t i = start; i < rows.size() && page.rows.size() < query.limit; ++i) page.rows.push_back(std::move(rows[i]));
    if (start + page.rows.size() < rows.size()) page.next_cursor = std::to_string(start + page.rows.size());
    return page;
}

Result<void> Ledger::compact(WallTime before) {
    // The last row of each hour stays: old periods are then exact to the hour, and every total is as it was.
    SBX_TRY(Statement drop, impl_->database.prepare(
        "DELETE FROM journal WHERE time < ?1 AND final = 0 AND EXISTS (SELECT 1 FROM journal AS later WHERE later.sandbox = journal.sandbox AND "
        "later.exec = journal.exec AND later.time > journal.time AND later.time / 3600000000000 = journal.time / 3600000000000)"));
    return drop.bind(1, nanoseconds(before)).run();
}

const policies::PriceBook& Ledger::price_book() const noexcept { return impl_->book; }

}  // namespace sandboxd::ledger
