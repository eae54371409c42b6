#include "sandboxd/ledger/books.hpp"

#include <utility>

namespace sandboxd::ledger {

namespace {

std::string prices_of(const policies::PriceBook& b) {
    const auto item = [](const char* key, std::uint64_t pico) {
        return std::string{key} + "=" + std::to_string(pico) + " ";
    };
    return item("cpu_second", b.cpu_second) + item("memory_gib_second", b.memory_gib_second) +
           item("wall_second", b.wall_second) + item("disk_gib_second", b.disk_gib_second) +
           item("egress_gib", b.egress_gib) + item("gpu_second", b.gpu_second);
}

Error other_currency(const policies::PriceBook& book, const std::string& recorded) {
    return Error{Errc::incompatible, "price book",
                 book.id() + " is in " + book.currency + ", and this ledger counts in " + recorded +
                     ": use a book in " + recorded + ", or begin with an empty database"};
}

Error other_prices(const policies::PriceBook& book) {
    return Error{Errc::conflict, "price book",
                 book.id() + " is on record with other prices: raise the version of the book"};
}

}  // namespace

Result<Books> Books::open(Database& database, policies::PriceBook current) {
    Books out;
    out.current_ = std::move(current);
    const std::string prices = prices_of(out.current_);
    SBX_TRY(Transaction transaction, Transaction::begin(database));
    SBX_CHECK(out.read(database, prices));
    if (out.current_id_ == 0) SBX_CHECK(out.insert(database, prices));
    SBX_CHECK(transaction.commit());
    return out;
}

Result<void> Books::read(Database& database, const std::string& prices) {
    SBX_TRY(Statement rows,
            database.prepare("SELECT id, name, version, currency, prices FROM books"));
    for (;;) {
        SBX_TRY(const bool row, rows.step());
        if (!row) return {};
        const std::string label = rows.text(1) + "@" + std::to_string(rows.integer(2));
        if (rows.text(3) != current_.currency) return other_currency(current_, rows.text(3));
        if (label == current_.id()) {
            if (rows.text(4) != prices) return other_prices(current_);
            current_id_ = rows.integer(0);
        }
        labels_.emplace(rows.integer(0), label);
    }
}

Result<void> Books::insert(Database& database, const std::string& prices) {
    SBX_TRY(Statement row,
            database.prepare("INSERT INTO books(name, version, currency, prices) VALUES(?, ?, ?, ?)"
                             " RETURNING id"));
    row.bind(1, std::string_view{current_.name})
        .bind(2, std::int64_t{current_.version})
        .bind(3, std::string_view{current_.currency})
        .bind(4, std::string_view{prices});
    SBX_CHECK(row.step());
    current_id_ = row.integer(0);
    labels_.emplace(current_id_, current_.id());
    return row.run();
}

std::string Books::label(std::int64_t id) const {
    const auto found = labels_.find(id);
    return found == labels_.end() ? std::string{} : found->second;
}

}  // namespace sandboxd::ledger
