#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "sandboxd/core/result.hpp"
#include "sandboxd/ledger/ledger.hpp"

namespace sandboxd::ledger {

// The place of a row in a report; rows are sorted by it. A page ends with the key of its last row,
// so that rows which are added meanwhile neither repeat nor hide others.
struct RowKey {
    std::int64_t day = 0;    // group_by day: days since 1970
    std::string name;        // a tenant, or a sandbox
    std::int64_t life = 0;   // group_by sandbox and exec
    std::uint64_t exec = 0;  // group_by exec; kIdle for what no exec accounts for
    auto operator<=>(const RowKey&) const = default;
};

inline constexpr std::uint64_t kIdle = UINT64_MAX;

[[nodiscard]] std::string write_cursor(GroupBy group_by, const RowKey& key);
// invalid_argument when it is none of ours or belongs to another grouping.
[[nodiscard]] Result<RowKey> read_cursor(GroupBy group_by, std::string_view cursor);

}  // namespace sandboxd::ledger
