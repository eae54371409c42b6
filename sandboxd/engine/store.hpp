#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sandboxd/core/async.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/ledger/ledger.hpp"
#include "sandboxd/ledger/records.hpp"

namespace sandboxd::engine {

// The database and its one thread. Writes are queued in order and go in groups: one transaction for all records that
// are waiting, one for all samples. What fails for want of disk is kept and tried again. Used from one executor.
class Store {
public:
    using Write = std::function<Result<void>(ledger::Records&)>;
    using Ticket = std::uint64_t;

    // Opens the file at `path`; blocks.
    [[nodiscard]] static Result<std::unique_ptr<Store>> open(asio::any_io_executor executor, const std::string& path,
                                                             NodeIdentity node, const policies::PriceBook& book);

    Ticket put(Write write);
    Ticket append(std::vector<ledger::Sample> samples);
    // Completes when everything up to `ticket` is in the database. The Error of the last attempt if that failed; the
    // writes stay queued then.
    [[nodiscard]] asio::awaitable<Result<void>> flushed(Ticket ticket);
    [[nodiscard]] asio::awaitable<Result<void>> flush() { return flushed(last_); }

    // Runs `question` on the database's thread, behind the writes that are under way.
    template <class T>
    [[nodiscard]] asio::awaitable<Result<T>> ask(std::function<Result<T>(ledger::Records&, ledger::Ledger&)> question) {
        const auto answer = std::make_shared<std::optional<Result<T>>>();
        const auto tables = tables_;
        std::function<void()> work = [answer, tables, question = std::move(question)] {
            answer->emplace(question(*tables->records, *tables->ledger));
        };
        co_await thread_.run(std::move(work));
        co_return std::move(**answer);
    }

    // The writer: run it as a task, for as long as the store is used.
    [[nodiscard]] asio::awaitable<void> run();
    [[nodiscard]] std::uint64_t rows_written() const noexcept { return rows_; }

private:
    struct Tables {
        std::unique_ptr<ledger::Database> database;
        std::unique_ptr<ledger::Records> records;
        std::unique_ptr<ledger::Ledger> ledger;
    };
    struct Batch {
        std::vector<Write> writes;
        std::vector<ledger::Sample> samples;
        Ticket last = 0;
        std::uint64_t rows = 0;
        std::optional<Error> error;  // try again
    };

    Store(asio::any_io_executor executor, std::shared_ptr<Tables> tables);
    static void perform(Tables& tables, Batch& batch);
    static bool write_records(Tables& tables, Batch& batch);
    static bool append_rows(Tables& tables, Batch& batch);
    void forget_superseded();
    void put_back(Batch& batch);

    std::shared_ptr<Tables> tables_;
    std::vector<Write> writes_;
    std::vector<ledger::Sample> samples_;
    Ticket last_ = 0;
    Ticket done_ = 0;
    std::uint64_t failures_ = 0;
    std::uint64_t rows_ = 0;
    std::optional<Error> error_;
    Event queued_;
    Event progressed_;
    BlockingPool thread_{1};
};

}  // namespace sandboxd::engine
