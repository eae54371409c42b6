#pragma once

#include <cstdint>

#include "sandboxd/core/result.hpp"
#include "sandboxd/ledger/database.hpp"

namespace sandboxd::ledger {

// Ledger::compact: moves the rows of whole hours that end at or before `time` out of the journal into packed form, some
// hours to a transaction. No answer changes.
[[nodiscard]] Result<void> compact_journal(Database& database, std::int64_t time);

}  // namespace sandboxd::ledger
