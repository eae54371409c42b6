#pragma once

#include "sandboxd/core/result.hpp"
#include "sandboxd/ledger/books.hpp"
#include "sandboxd/ledger/database.hpp"
#include "sandboxd/ledger/history.hpp"
#include "sandboxd/ledger/ledger.hpp"

namespace sandboxd::ledger {

// Ledger::query. Everything is made of one thing, the figures of a sandbox's life at the bounds of
// a period, so that every grouping has the same total.
[[nodiscard]] Result<UsagePage> make_report(Database& database, History& history,
                                            const Books& books, const UsageQuery& query);

}  // namespace sandboxd::ledger
