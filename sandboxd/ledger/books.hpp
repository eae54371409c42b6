#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "policies/price_book.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/ledger/database.hpp"

namespace sandboxd::ledger {

// The price books that this ledger has priced with, by their number in the database.
class Books {
public:
    // Registers `current`. incompatible when the ledger counts in another currency (sums would mix
    // them), conflict when this name@version is on record with other prices.
    [[nodiscard]] static Result<Books> open(Database& database, policies::PriceBook current);

    [[nodiscard]] const policies::PriceBook& current() const noexcept { return current_; }
    [[nodiscard]] std::int64_t current_id() const noexcept { return current_id_; }
    // name@version
    [[nodiscard]] std::string label(std::int64_t id) const;

private:
    Books() = default;
    Result<void> read(Database& database, const std::string& prices);
    Result<void> insert(Database& database, const std::string& prices);

    policies::PriceBook current_;
    std::int64_t current_id_ = 0;
    std::map<std::int64_t, std::string> labels_;
};

}  // namespace sandboxd::ledger
