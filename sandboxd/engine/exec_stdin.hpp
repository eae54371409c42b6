#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <string>

#include "sandboxd/core/async.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/io_pools.hpp"

namespace sandboxd::engine {

// The writing end of a program's input: a pipe, or a terminal's master side. One writer at a time, the others wait
// their turn; closing lets the one under way finish. One thread.
class ExecStdin {
public:
    ExecStdin(asio::any_io_executor executor, IoPools& pools) : pools_{pools}, free_{std::move(executor)} {}

    enum class Kind { pipe, terminal };
    void open(Fd fd, Kind kind);
    void close();
    [[nodiscard]] bool is_open() const noexcept { return fd_ != nullptr; }
    // Waits while it is full. unavailable when it is closed, or when the program has closed its end.
    [[nodiscard]] asio::awaitable<Result<void>> write(std::string data, Deadline deadline);

private:
    [[nodiscard]] asio::awaitable<Result<std::size_t>> write_some(std::shared_ptr<const Fd> fd, std::shared_ptr<const std::string> data,
                                                                  std::size_t from);

    IoPools& pools_;
    std::shared_ptr<const Fd> fd_;
    Kind kind_ = Kind::pipe;
    bool writing_ = false;
    Event free_;
};

}  // namespace sandboxd::engine
