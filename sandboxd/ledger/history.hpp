#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sandboxd/core/result.hpp"
#include "sandboxd/ledger/database.hpp"
#include "sandboxd/ledger/figures.hpp"
#include "sandboxd/ledger/ledger.hpp"

namespace sandboxd::ledger {

// The reading side: cumulative figures at any moment, wherever compaction has put them.
class History {
public:
    // `database` must outlive it.
    [[nodiscard]] static Result<std::unique_ptr<History>> open(Database& database);

    struct Life {
        std::int64_t id = 0;
        std::string sandbox;
        std::string tenant;
        std::int64_t series = 0;  // of the sandbox as a whole
    };
    // Lives of the query's tenant and sandbox that may have rows in its period, by sandbox, then
    // age.
    [[nodiscard]] Result<std::vector<Life>> lives(const UsageQuery& query);

    struct Exec {
        std::uint64_t number = 0;
        std::int64_t series = 0;
    };
    // Execs of a life that may have rows from hour `first` to hour `last`, both included, by
    // number.
    [[nodiscard]] Result<std::vector<Exec>> execs(std::int64_t life, std::int64_t first,
                                                  std::int64_t last);

    // The last row of a series that is older than `time`.
    [[nodiscard]] Result<std::optional<Reading>> before(std::int64_t series, std::int64_t time);
    // The last row of each hour from `first` up to, not including, `end`.
    [[nodiscard]] Result<std::vector<Reading>> hours(std::int64_t series, std::int64_t first,
                                                     std::int64_t end);

private:
    explicit History(Database& database) : database_{database} {}
    Result<std::optional<Reading>> last_until_hour(std::int64_t series, std::int64_t hour);
    Result<std::optional<Reading>> within_hour(std::int64_t series, std::int64_t time);

    Database& database_;
    Statement sum_, row_, packed_, hours_, execs_;
};

}  // namespace sandboxd::ledger
