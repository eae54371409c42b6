#include "sandboxd/engine/store.hpp"

#include <iterator>
#include <set>
#include <utility>

#include "sandboxd/core/log.hpp"

namespace sandboxd::engine {

namespace {

constexpr auto kRetry = std::chrono::seconds{1};
constexpr std::size_t kMaxSamples = 100'000;

bool worth_a_retry(const Error& error) {
    const Errc code = error.errc();
    return code == Errc::disk_full || code == Errc::unavailable;
}

Result<void> write_all(ledger::Database& database, ledger::Records& records, const std::vector<Store::Write>& writes) {
    SBX_TRY(ledger::Transaction transaction, ledger::Transaction::begin(database));
    for (const Store::Write& write : writes) SBX_CHECK(write(records));
    return transaction.commit();
}

template <class T>
void insert_in_front(std::vector<T>& queue, std::vector<T>& earlier) {
    queue.insert(queue.begin(), std::make_move_iterator(earlier.begin()), std::make_move_iterator(earlier.end()));
}

}  // namespace

Store::Store(asio::any_io_executor executor, std::shared_ptr<Tables> tables)
    : tables_{std::move(tables)}, queued_{executor}, progressed_{executor} {}

Result<std::unique_ptr<Store>> Store::open(asio::any_io_executor executor, const std::string& path, NodeIdentity node,
                                           const policies::PriceBook& book) {
    auto tables = std::make_shared<Tables>();
    SBX_TRY(tables->database, ledger::Database::open(path));
    SBX_TRY(tables->records, ledger::Records::open(*tables->database));
    SBX_TRY(tables->ledger, ledger::Ledger::open(*tables->database, node, book));
    return std::unique_ptr<Store>{new Store{std::move(executor), std::move(tables)}};
}

Store::Ticket Store::put(Write write) {
    writes_.push_back(std::move(write));
    queued_.notify();
    return ++last_;
}

Store::Ticket Store::append(std::vector<ledger::Sample> samples) {
    samples_.insert(samples_.end(), std::make_move_iterator(samples.begin()), std::make_move_iterator(samples.end()));
    if (samples_.size() > kMaxSamples) forget_superseded();
    queued_.notify();
    return ++last_;
}

// The database could not be written for long. Figures are cumulative: the last row of each series says it all.
void Store::forget_superseded() {
    std::set<std::pair<std::string, std::uint64_t>> seen;
    std::vector<ledger::Sample> kept;
    for (auto row = samples_.rbegin(); row != samples_.rend(); ++row) {
        if (seen.emplace(row->sandbox.str(), row->exec).second) kept.push_back(std::move(*row));
    }
    samples_.assign(std::make_move_iterator(kept.rbegin()), std::make_move_iterator(kept.rend()));
}

asio::awaitable<Result<void>> Store::flushed(Ticket ticket) {
    const std::uint64_t failures = failures_;
    while (done_ < ticket) {
        SBX_CO_CHECK(co_await progressed_.wait(Deadline::never()));
        if (done_ < ticket && failures_ != failures && error_) co_return *error_;
    }
    co_return Result<void>{};
}

bool Store::write_records(Tables& tables, Batch& batch) {
    if (batch.writes.empty()) return true;
    auto written = write_all(*tables.database, *tables.records, batch.writes);
    if (!written && worth_a_retry(written.error())) {
        batch.error = std::move(written).error();
        return false;
    }
    if (!written) {
        // One of them can't be written at all: the others must not suffer for it.
        for (const Write& write : batch.writes) {
            if (auto one = write(*tables.records); !one) log::error("a record can't be written", {{"error", one.error()}});
        }
    }
    batch.writes.clear();
    return true;
}

bool Store::append_rows(Tables& tables, Batch& batch) {
    if (batch.samples.empty()) return true;
    auto appended = tables.ledger->append(batch.samples);
    if (!appended && worth_a_retry(appended.error())) {
        batch.error = std::move(appended).error();
        return false;
    }
    if (!appended) {
        for (const ledger::Sample& sample : batch.samples) {
            if (auto alone = tables.ledger->append({&sample, 1}); !alone) {
                log::error("a usage row was refused", {{"sandbox", sample.sandbox.str()}, {"exec", sample.exec}, {"error", alone.error()}});
            }
        }
    }
    batch.rows = batch.samples.size();
    batch.samples.clear();
    return true;
}

void Store::perform(Tables& tables, Batch& batch) {
    if (write_records(tables, batch)) (void)append_rows(tables, batch);  // what failed is in batch.error
}

// In front of what came meanwhile: the last write of a record is its truth.
void Store::put_back(Batch& batch) {
    log::error("the database can't be written; trying again", {{"error", *batch.error}});
    insert_in_front(writes_, batch.writes);
    insert_in_front(samples_, batch.samples);
    error_ = std::move(batch.error);
    ++failures_;
}

asio::awaitable<void> Store::run() {
    for (;;) {
        if (writes_.empty() && samples_.empty()) {
            if (auto ok = co_await queued_.wait(Deadline::never()); !ok) co_return;
            continue;
        }
        const auto batch = std::make_shared<Batch>();
        batch->writes.swap(writes_);
        batch->samples.swap(samples_);
        batch->last = last_;
        const auto tables = tables_;
        std::function<void()> work = [tables, batch] { perform(*tables, *batch); };
        co_await thread_.run(std::move(work));
        rows_ += batch->rows;
        const bool failed = batch->error.has_value();
        if (failed) {
            put_back(*batch);
        } else {
            done_ = batch->last;
        }
        progressed_.notify();
        if (failed) (void)co_await sleep_until(Deadline::after(kRetry));  // cancelled: the next wait ends it
    }
}

}  // namespace sandboxd::engine
