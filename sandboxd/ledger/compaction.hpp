#pragma once

#include <cstdint>

#include "sandboxd/core/result.hpp"
#include "sandboxd/ledger/database.hpp"

namespace sandboxd::ledger {

// Ledger::compact_some: moves the rows of some whole hours that end at or before `time` out of the
// journal into packed form, in one transaction. False when nothing is left to do.
[[nodiscard]] Result<bool> compact_some_hours(Database& database, std::int64_t time);

}  // namespace sandboxd::ledger
