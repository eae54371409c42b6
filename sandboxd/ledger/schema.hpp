#pragma once

#include <span>

namespace sandboxd::ledger {

// The tables of the journal and of the sums; schema.cpp says what each is for. Only ever append to
// the list.
[[nodiscard]] std::span<const char* const> ledger_migrations() noexcept;

}  // namespace sandboxd::ledger
