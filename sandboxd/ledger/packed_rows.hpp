#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sandboxd/core/result.hpp"
#include "sandboxd/ledger/figures.hpp"

namespace sandboxd::ledger {

// The rows of one series and hour as compaction keeps them: differences as variable-length
// integers, about 30 bytes a row instead of 150. Exact: unpack(pack(rows)) == rows.
[[nodiscard]] std::string pack(std::span<const Reading> rows);
// internal when the bytes are damaged.
[[nodiscard]] Result<std::vector<Reading>> unpack(std::string_view bytes);

}  // namespace sandboxd::ledger
