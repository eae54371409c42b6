#include "naive_ledger.hpp"

#include <algorithm>
#include <tuple>

namespace sandboxd::ledger {

namespace {

std::string day_of(WallTime time) {
    return to_rfc3339(time).substr(0, 10);
}

bool falls(const Counters& a, const Counters& b) {
    return b.wall_ns < a.wall_ns || b.cpu_ns < a.cpu_ns ||
           b.memory_peak_bytes < a.memory_peak_bytes || b.memory_kib_ms < a.memory_kib_ms ||
           b.disk_kib_ms < a.disk_kib_ms || b.egress_bytes < a.egress_bytes || b.gpu_ns < a.gpu_ns;
}

// Both parts of one whole: `part` gets at most what is left.
template <class T>
void cut(T& rest, T& part) {
    if (part > rest) part = rest;
    rest -= part;
}

}  // namespace

void NaiveLedger::append(const Sample& sample) {
    Life* life = nullptr;
    for (Life& candidate : lives_) {
        if (candidate.sandbox == sample.sandbox.str()) life = &candidate;
    }
    if (life != nullptr && life->closed) {
        const auto& rows = life->series[sample.exec];
        if (life->tenant != sample.tenant.str() ||
            (!rows.empty() && falls(rows.back().counters, sample.counters))) {
            life = nullptr;
        }
    }
    if (life == nullptr) {
        lives_.push_back({sample.sandbox.str(), sample.tenant.str(), false, {}});
        life = &lives_.back();
    }
    auto& rows = life->series[sample.exec];
    Counters priced = sample.counters;
    if (sample.exec != 0) priced.wall_ns = 0;
    const WallTime time = rows.empty() ? sample.time : std::max(sample.time, rows.back().time);
    rows.push_back({time, sample.counters, cost_of(priced, book_), book_.id()});
    if (sample.exec == 0 && sample.final) life->closed = true;
}

const NaiveLedger::Row* NaiveLedger::last_before(const std::vector<Row>& rows, WallTime time) {
    const Row* out = nullptr;
    for (const Row& row : rows) {
        if (row.time < time) out = &row;
    }
    return out;
}

Usage NaiveLedger::between(const Row* begin, const Row& end) {
    Usage out;
    out.counters = end.counters;
    out.cost = end.cost;
    out.price_book = end.book;
    if (begin == nullptr) return out;
    Counters& c = out.counters;
    c.wall_ns -= begin->counters.wall_ns;
    c.cpu_ns -= begin->counters.cpu_ns;
    c.memory_kib_ms -= begin->counters.memory_kib_ms;
    c.disk_kib_ms -= begin->counters.disk_kib_ms;
    c.egress_bytes -= begin->counters.egress_bytes;
    c.gpu_ns -= begin->counters.gpu_ns;
    out.cost -= begin->cost;
    return out;
}

void NaiveLedger::accumulate(Usage& sum, const Usage& part) {
    Counters& c = sum.counters;
    c.wall_ns += part.counters.wall_ns;
    c.cpu_ns += part.counters.cpu_ns;
    c.memory_peak_bytes = std::max(c.memory_peak_bytes, part.counters.memory_peak_bytes);
    c.memory_kib_ms += part.counters.memory_kib_ms;
    c.disk_bytes += part.counters.disk_bytes;
    c.disk_kib_ms += part.counters.disk_kib_ms;
    c.egress_bytes += part.counters.egress_bytes;
    c.gpu_ns += part.counters.gpu_ns;
    sum.cost += part.cost;
}

void NaiveLedger::add_exec_rows(const Life& life, const Row* begin, const Row& end,
                                std::vector<UsageRow>& out) const {
    const auto tick = std::chrono::nanoseconds{1};
    Usage rest = between(begin, end);
    for (const auto& [exec, rows] : life.series) {
        if (exec == 0) continue;
        const Row* exec_end = last_before(rows, end.time + tick);
        if (exec_end == nullptr || (begin != nullptr && exec_end->time <= begin->time)) continue;
        Usage used =
            between(begin == nullptr ? nullptr : last_before(rows, begin->time + tick), *exec_end);
        Counters& left = rest.counters;
        Counters& part = used.counters;
        left.wall_ns -= std::min(left.wall_ns, part.wall_ns);
        part.memory_peak_bytes = std::min(part.memory_peak_bytes, left.memory_peak_bytes);
        cut(left.cpu_ns, part.cpu_ns);
        cut(left.memory_kib_ms, part.memory_kib_ms);
        cut(left.disk_bytes, part.disk_bytes);
        cut(left.disk_kib_ms, part.disk_kib_ms);
        cut(left.egress_bytes, part.egress_bytes);
        cut(left.gpu_ns, part.gpu_ns);
        cut(rest.cost, used.cost);
        out.push_back({life.tenant, life.sandbox, exec_id_from_number(exec).str(), {}, used});
    }
    out.push_back({life.tenant, life.sandbox, "idle", {}, rest});
}

void NaiveLedger::add_rows(const Life& life, const UsageQuery& query,
                           std::vector<UsageRow>& out) const {
    const auto series = life.series.find(0);
    if (series == life.series.end()) return;
    const Row* end = last_before(series->second, query.to);
    if (end == nullptr || end->time < query.from) return;
    const Row* begin = last_before(series->second, query.from);
    switch (query.group_by) {
        case GroupBy::tenant:
            out.push_back({life.tenant, {}, {}, {}, between(begin, *end)});
            return;
        case GroupBy::sandbox:
            out.push_back({life.tenant, life.sandbox, {}, {}, between(begin, *end)});
            return;
        case GroupBy::exec:
            add_exec_rows(life, begin, *end, out);
            return;
        case GroupBy::day:
            break;
    }
    const Row* before = begin;
    for (const Row& row : series->second) {
        if (row.time < query.from || row.time >= query.to) continue;
        // The last row of its day in the period.
        const Row* next = &row + 1;
        const bool more = next != &*series->second.end() && next->time < query.to;
        if (more && day_of(next->time) == day_of(row.time)) continue;
        out.push_back({life.tenant, {}, {}, day_of(row.time), between(before, row)});
        before = &row;
    }
}

UsagePage NaiveLedger::query(const UsageQuery& query) const {
    std::vector<const Life*> lives;
    for (const Life& life : lives_) {
        if (query.tenant && life.tenant != query.tenant->str()) continue;
        if (query.sandbox && life.sandbox != query.sandbox->str()) continue;
        lives.push_back(&life);
    }
    std::stable_sort(lives.begin(), lives.end(),
                     [](const Life* a, const Life* b) { return a->sandbox < b->sandbox; });
    UsagePage out;
    out.total.currency = book_.currency;
    out.total.price_book = book_.id();
    std::vector<UsageRow> rows;
    for (const Life* life : lives) add_rows(*life, query, rows);
    UsageQuery whole = query;
    whole.group_by = GroupBy::sandbox;
    std::vector<UsageRow> sandboxes;
    for (const Life* life : lives) add_rows(*life, whole, sandboxes);
    for (const UsageRow& row : sandboxes) accumulate(out.total, row.usage);
    for (UsageRow& row : rows) row.usage.currency = book_.currency;
    if (query.group_by == GroupBy::sandbox || query.group_by == GroupBy::exec) {
        out.rows = std::move(rows);
        return out;
    }
    std::map<std::pair<std::string, std::string>, UsageRow> merged;
    for (const UsageRow& row : rows) {
        const auto [place, fresh] = merged.try_emplace({row.day, row.tenant}, row);
        if (!fresh) accumulate(place->second.usage, row.usage);
    }
    for (auto& [key, row] : merged) out.rows.push_back(std::move(row));
    return out;
}

}  // namespace sandboxd::ledger
