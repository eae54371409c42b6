#include "sandboxd/ledger/ledger.hpp"

#include <utility>

#include "sandboxd/ledger/books.hpp"
#include "sandboxd/ledger/compaction.hpp"
#include "sandboxd/ledger/figures.hpp"
#include "sandboxd/ledger/history.hpp"
#include "sandboxd/ledger/journal.hpp"
#include "sandboxd/ledger/report.hpp"
#include "sandboxd/ledger/schema.hpp"

namespace sandboxd::ledger {

struct Ledger::Impl {
    Impl(Database& d, Books b) : database{d}, books{std::move(b)} {}

    Database& database;
    Books books;
    std::unique_ptr<Journal> journal;
    std::unique_ptr<History> history;
};

Ledger::Ledger(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
Ledger::~Ledger() = default;

Result<std::unique_ptr<Ledger>> Ledger::open(Database& database, NodeIdentity node,
                                             policies::PriceBook book) {
    SBX_CHECK(database.migrate("ledger", ledger_migrations()));
    SBX_TRY(Books books, Books::open(database, std::move(book)));
    auto impl = std::make_unique<Impl>(database, std::move(books));
    SBX_TRY(impl->journal, Journal::open(database, node, impl->books));
    SBX_TRY(impl->history, History::open(database));
    return std::unique_ptr<Ledger>{new Ledger{std::move(impl)}};
}

Result<void> Ledger::append(std::span<const Sample> samples) {
    return impl_->journal->append(samples);
}

Result<std::optional<Counters>> Ledger::last(const SandboxId& sandbox, std::uint64_t exec) {
    return impl_->journal->last(sandbox, exec);
}

Result<UsagePage> Ledger::query(const UsageQuery& query) {
    return make_report(impl_->database, *impl_->history, impl_->books, query);
}

Result<void> Ledger::compact(WallTime before) {
    for (;;) {
        SBX_TRY(const bool more, compact_some(before));
        if (!more) return {};
    }
}

Result<bool> Ledger::compact_some(WallTime before) {
    return compact_some_hours(impl_->database, nanos(before));
}

const policies::PriceBook& Ledger::price_book() const noexcept {
    return impl_->books.current();
}

}  // namespace sandboxd::ledger
