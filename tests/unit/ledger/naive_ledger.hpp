#pragma once

#include <map>
#include <string>
#include <vector>

#include "sandboxd/ledger/ledger.hpp"

namespace sandboxd::ledger {

// What Ledger promises, written for reading and not for speed: every row in memory, every answer by
// looking at all of them. Shares no code with the real one but cost_of().
class NaiveLedger {
public:
    explicit NaiveLedger(policies::PriceBook book) : book_{std::move(book)} {}

    void append(const Sample& sample);
    [[nodiscard]] UsagePage query(const UsageQuery& query) const;

private:
    struct Row {
        WallTime time;
        Counters counters;
        policies::PicoMoney cost = 0;
        std::string book;
    };
    struct Life {
        std::string sandbox;
        std::string tenant;
        bool closed = false;
        std::map<std::uint64_t, std::vector<Row>> series;
    };

    static const Row* last_before(const std::vector<Row>& rows, WallTime time);
    static Usage between(const Row* begin, const Row& end);
    static void accumulate(Usage& sum, const Usage& part);
    void add_rows(const Life& life, const UsageQuery& query, std::vector<UsageRow>& out) const;
    void add_exec_rows(const Life& life, const Row* begin, const Row& end,
                       std::vector<UsageRow>& out) const;

    policies::PriceBook book_;
    std::vector<Life> lives_;
};

}  // namespace sandboxd::ledger
