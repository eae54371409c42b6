#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>

#include "sandboxd/core/ids.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/ledger/books.hpp"
#include "sandboxd/ledger/database.hpp"
#include "sandboxd/ledger/figures.hpp"
#include "sandboxd/ledger/ledger.hpp"

namespace sandboxd::ledger {

// The writing side: appends rows and, in the same transaction, brings the sums up to them. The sums
// of an hour are its last cumulative figures, so that writing them again changes nothing.
class Journal {
public:
    // `database` and `books` must outlive it.
    [[nodiscard]] static Result<std::unique_ptr<Journal>> open(Database& database,
                                                               NodeIdentity node,
                                                               const Books& books);

    // As Ledger::append and Ledger::last.
    [[nodiscard]] Result<void> append(std::span<const Sample> samples);
    [[nodiscard]] Result<std::optional<Counters>> last(const SandboxId& sandbox,
                                                       std::uint64_t exec);

private:
    // What was last written of a series.
    struct Latest {
        std::int64_t series = 0;
        Reading reading;
    };
    struct Life {
        std::int64_t id = 0;
        std::string tenant;
        bool closed = false;
        std::int64_t first_hour = 0;
        std::int64_t last_hour = 0;
        std::map<std::uint64_t, Latest> latest;  // by exec; filled as they are asked for
    };

    Journal(Database& database, NodeIdentity node, const Books& books)
        : database_{database}, node_{node}, books_{books} {}

    Result<void> prepare();
    Result<void> read_sequence();
    // Null: there is none.
    Result<Life*> current_life(const std::string& sandbox);
    Result<Latest*> latest_of(Life& life, std::uint64_t exec);
    Result<Life*> open_life(const Sample& sample);
    Result<Latest*> open_series(Life& life, const Sample& sample);
    Result<Life*> life_for(const Sample& sample);
    [[nodiscard]] Reading next_reading(const Latest& before, const Sample& sample) const;
    Result<void> write_all(std::span<const Sample> samples);
    Result<void> write(const Sample& sample);
    Result<void> write_row(const Sample& sample, const Latest& row);
    Result<void> write_sum(Life& life, const Latest& row, std::int64_t hour_before);
    Result<void> close_life(Life& life);
    void forget_ended(std::span<const Sample> samples);

    Database& database_;
    NodeIdentity node_;
    const Books& books_;
    std::int64_t sequence_ = 0;
    // What the database says, kept so that an append only writes. Forgotten when an append fails.
    std::unordered_map<std::string, Life> lives_;
    Statement find_life_, find_latest_, insert_life_, insert_series_, insert_row_, put_sum_,
        grow_life_, grow_series_, end_life_;
};

}  // namespace sandboxd::ledger
