#include "sandboxd/ledger/report.hpp"

#include <map>
#include <optional>
#include <set>
#include <utility>

#include "sandboxd/ledger/cursor.hpp"

namespace sandboxd::ledger {

namespace {

std::string date_of(std::int64_t day) {
    return to_rfc3339(WallTime{std::chrono::days{day}}).substr(0, 10);
}

// A sum, and the books that priced it.
struct Total {
    Figures figures;
    std::set<std::int64_t> books;

    void add(const Figures& part) {
        ledger::add(figures, part);
        if (part.book != 0) books.insert(part.book);
    }
};

// A life with rows in the period. `begin` is its last row before the period, if it has one; `end`
// its last row in it.
struct Active {
    History::Life life;
    std::optional<Reading> begin;
    Reading end;

    [[nodiscard]] Figures used() const {
        return difference(end.figures, begin ? begin->figures : Figures{});
    }
};

// By day since 1970 and tenant.
using Days = std::map<std::pair<std::int64_t, std::string>, Total>;

class Report {
public:
    Report(History& history, const Books& books, const UsageQuery& query)
        : history_{history},
          books_{books},
          query_{query},
          from_{nanos(query.from)},
          to_{nanos(query.to)} {}

    Result<UsagePage> make();

private:
    Result<void> find_active();
    void add_tenants();
    void add_sandboxes();
    Result<void> add_execs();
    Result<void> add_execs_of(const Active& active);
    Result<std::optional<Figures>> used_by(const History::Exec& exec, const Active& active);
    Result<void> add_days();
    Result<void> add_days_of(const Active& active, Days& days);

    // Puts a row on the page if it is behind the cursor. False when the page is full.
    bool put(const RowKey& key, UsageRow row, const Total& total);
    [[nodiscard]] bool full() const { return !page_.next_cursor.empty(); }
    [[nodiscard]] Usage usage_of(const Total& total) const;

    History& history_;
    const Books& books_;
    const UsageQuery& query_;
    std::int64_t from_;
    std::int64_t to_;
    std::optional<RowKey> after_;
    RowKey last_;
    std::vector<Active> active_;
    UsagePage page_;
};

Result<UsagePage> Report::make() {
    if (!query_.cursor.empty()) {
        SBX_TRY(after_, read_cursor(query_.group_by, query_.cursor));
    }
    SBX_CHECK(find_active());
    Total total;
    for (const Active& active : active_) total.add(active.used());
    page_.total = usage_of(total);
    switch (query_.group_by) {
        case GroupBy::tenant:
            add_tenants();
            break;
        case GroupBy::sandbox:
            add_sandboxes();
            break;
        case GroupBy::exec:
            SBX_CHECK(add_execs());
            break;
        case GroupBy::day:
            SBX_CHECK(add_days());
            break;
    }
    return std::move(page_);
}

Result<void> Report::find_active() {
    if (from_ >= to_) return {};
    SBX_TRY(auto lives, history_.lives(query_));
    for (History::Life& life : lives) {
        SBX_TRY(const auto end, history_.before(life.series, to_));
        if (!end || end->time < from_) continue;
        SBX_TRY(const auto begin, history_.before(life.series, from_));
        active_.push_back({std::move(life), begin, *end});
    }
    return {};
}

bool Report::put(const RowKey& key, UsageRow row, const Total& total) {
    if (after_ && key <= *after_) return true;
    if (page_.rows.size() == query_.limit) {
        page_.next_cursor = write_cursor(query_.group_by, last_);
        return false;
    }
    row.usage = usage_of(total);
    page_.rows.push_back(std::move(row));
    last_ = key;
    return true;
}

Usage Report::usage_of(const Total& total) const {
    std::string names;
    for (const std::int64_t book : total.books)
        names += (names.empty() ? "" : ",") + books_.label(book);
    if (names.empty()) names = books_.current().id();
    return Usage{total.figures.counters, total.figures.cost, books_.current().currency,
                 std::move(names)};
}

void Report::add_tenants() {
    std::map<std::string, Total> tenants;
    for (const Active& active : active_) tenants[active.life.tenant].add(active.used());
    for (const auto& [tenant, total] : tenants) {
        if (!put(RowKey{0, tenant, 0, 0}, UsageRow{tenant, {}, {}, {}, {}}, total)) return;
    }
}

// Lives come sorted by sandbox, then age: in the order of their keys.
void Report::add_sandboxes() {
    for (const auto& active : active_) {
        const History::Life& life = active.life;
        Total total;
        total.add(active.used());
        if (!put(RowKey{0, life.sandbox, life.id, 0},
                 UsageRow{life.tenant, life.sandbox, {}, {}, {}}, total))
            return;
    }
}

Result<void> Report::add_execs() {
    for (const Active& active : active_) {
        // The rows of lives before the one where the last page ended were on earlier pages.
        const History::Life& life = active.life;
        if (after_ && RowKey{0, life.sandbox, life.id, kIdle} <= *after_) continue;
        SBX_CHECK(add_execs_of(active));
        if (full()) return {};
    }
    return {};
}

// What is left of the sandbox after all of its execs is idle. Readings of an exec and of its
// sandbox are not taken at the same nanosecond, so an exec may seem to have used a little more than
// its sandbox; that little is cut from the exec.
Result<void> Report::add_execs_of(const Active& active) {
    const History::Life& life = active.life;
    const std::int64_t first_hour = active.begin ? hour_of(active.begin->time) : INT64_MIN;
    SBX_TRY(const auto execs, history_.execs(life.id, first_hour, hour_of(active.end.time)));
    Figures rest = active.used();
    for (const History::Exec& exec : execs) {
        SBX_TRY(auto used, used_by(exec, active));
        if (!used) continue;
        take(rest, *used);
        Total total;
        total.add(*used);
        const std::string name = exec_id_from_number(exec.number).str();
        const RowKey key{0, life.sandbox, life.id, exec.number};
        if (!put(key, UsageRow{life.tenant, life.sandbox, name, {}, {}}, total)) return {};
    }
    Total idle;
    idle.add(rest);
    put(RowKey{0, life.sandbox, life.id, kIdle},
        UsageRow{life.tenant, life.sandbox, "idle", {}, {}}, idle);
    return {};
}

// Nothing when the exec has no rows in the period. It is looked at as of its sandbox's rows: a row
// of the exec that is newer than the sandbox's last one is in no sum of the sandbox yet.
Result<std::optional<Figures>> Report::used_by(const History::Exec& exec, const Active& active) {
    std::optional<Figures> out;
    SBX_TRY(const auto end, history_.before(exec.series, active.end.time + 1));
    if (!end || (active.begin && end->time <= active.begin->time)) return out;
    std::optional<Reading> begin;
    if (active.begin) {
        SBX_TRY(begin, history_.before(exec.series, active.begin->time + 1));
    }
    out = difference(end->figures, begin ? begin->figures : Figures{});
    return out;
}

Result<void> Report::add_days() {
    Days days;
    for (const Active& active : active_) SBX_CHECK(add_days_of(active, days));
    for (const auto& [key, total] : days) {
        const auto& [day, tenant] = key;
        if (!put(RowKey{day, tenant, 0, 0}, UsageRow{tenant, {}, {}, date_of(day), {}}, total))
            break;
    }
    return {};
}

Result<void> Report::add_days_of(const Active& active, Days& days) {
    // The last row of each day in the period. The period may cut its last hour: `end` stands for
    // that one.
    const std::int64_t last_hour = hour_of(active.end.time);
    SBX_TRY(const auto hours, history_.hours(active.life.series, hour_of(from_), last_hour));
    std::map<std::int64_t, Figures> last_of_day;
    for (const Reading& reading : hours) {
        if (reading.time >= from_)
            last_of_day[day_of_hour(hour_of(reading.time))] = reading.figures;
    }
    last_of_day[day_of_hour(last_hour)] = active.end.figures;
    Figures before = active.begin ? active.begin->figures : Figures{};
    for (const auto& [day, figures] : last_of_day) {
        days[{day, active.life.tenant}].add(difference(figures, before));
        before = figures;
    }
    return {};
}

}  // namespace

Result<UsagePage> make_report(Database& database, History& history, const Books& books,
                              const UsageQuery& query) {
    if (query.limit == 0) return Error{Errc::invalid_argument, "limit", "must be at least 1"};
    // One snapshot for all of its reads, and one lock instead of one for each.
    SBX_TRY(Transaction snapshot, Transaction::begin_read(database));
    auto page = Report{history, books, query}.make();
    if (page) SBX_CHECK(snapshot.commit());
    return page;
}

}  // namespace sandboxd::ledger
