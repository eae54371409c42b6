#pragma once

#include "sandboxd/core/result.hpp"
#include "sandboxd/ledger/database.hpp"
#include "sandboxd/ledger/records.hpp"

namespace sandboxd::ledger {

// invalid_argument for a number that no version of this program has written.
[[nodiscard]] Result<policies::Profile> stored_profile(int number);

// What the parts of Records share: the database, and the statements of every request. The rare
// calls prepare their own.
struct Records::Impl {
    explicit Impl(Database& d) : database{d} {}

    Result<void> prepare_sandboxes();
    Result<void> prepare_idempotency();

    Database& database;
    Statement put_sandbox, get_sandbox, put_exec, get_execs;
    Statement claim, claimed, finish, drop;
};

}  // namespace sandboxd::ledger
