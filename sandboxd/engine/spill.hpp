#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <optional>
#include <string>

#include "sandboxd/core/async.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/engine/io_pools.hpp"
#include "sandboxd/engine/output.hpp"
#include "sandboxd/engine/spill_source.hpp"
#include "sandboxd/engine/spool_budget.hpp"

namespace sandboxd::engine {

struct SpillSettings {
    std::uint64_t limit = 64ULL << 20;
    OverLimit mode = OverLimit::truncate;
    std::uint64_t dropped = 0;  // as far as it is remembered from before a restart
};

// One output stream: bytes go from a pipe or a terminal into a spill file, and every reader reads the file. The file's
// size is the stream's offset, so an API process that starts anew goes on exactly where the last one stopped.
// Shared by the exec and its pump. One thread; blocking steps run in the pools.
class Spill final : public Output, public std::enable_shared_from_this<Spill> {
public:
    // Makes the file, or goes on with the one that is there. Without attach() it is a stream that has ended.
    [[nodiscard]] static Result<std::shared_ptr<Spill>> open(asio::any_io_executor executor, IoPools& pools,
                                                             std::shared_ptr<SpoolBudget> budget, int folder, std::string name,
                                                             SpillSettings settings);
    ~Spill() override;

    void attach(SpillSource source);
    [[nodiscard]] bool attached() const noexcept { return source_ != nullptr; }
    // Moves bytes until no writer is left or until it is cancelled. One at a time, while attached.
    [[nodiscard]] asio::awaitable<void> pump();
    // The main program has ended: completes when what it wrote is in the file (or dropped above the cap), although
    // programs in the background may keep the pipe open. The stream then counts as ended; what they write is taken on.
    [[nodiscard]] asio::awaitable<void> settle();
    // No byte will come any more: nobody is there who could write, or nobody to take it.
    void close();
    [[nodiscard]] bool hung_up() const noexcept { return hung_up_; }
    [[nodiscard]] asio::awaitable<Result<void>> until_hung_up();
    // Removes the file from the folder that it was made in; readers that are at it go on.
    void unlink(int folder);

    std::uint64_t size() const override { return size_; }
    std::uint64_t dropped() const override { return dropped_; }
    std::uint64_t first_offset() const override { return first_; }
    bool ended() const override { return hung_up_ || settled_; }
    asio::awaitable<Result<std::size_t>> read(std::uint64_t offset, std::span<std::byte> buffer, Deadline deadline) override;
    asio::awaitable<Result<std::size_t>> read_now(std::uint64_t offset, std::span<std::byte> buffer) override;
    void consumed(std::uint64_t offset) override;

private:
    enum class Cap { keep, beyond };  // `beyond`: a blocking stream takes what its ended program left in the pipe
    struct Turn {
        SpillSource::Moved moved;
        bool full = false;  // nothing may be taken now
    };

    Spill(asio::any_io_executor executor, IoPools& pools, std::shared_ptr<SpoolBudget> budget);
    [[nodiscard]] std::uint64_t room(Cap cap) const;
    [[nodiscard]] bool drops() const;
    // One bounded step, into the file or above the cap to nowhere. Call when not busy_.
    [[nodiscard]] asio::awaitable<Turn> turn(Cap cap, std::uint64_t most);
    [[nodiscard]] asio::awaitable<void> wait_for_disk(const Error& error);
    [[nodiscard]] Result<void> check_offset(std::uint64_t offset) const;

    IoPools& pools_;
    std::shared_ptr<SpoolBudget> budget_;
    std::string name_;
    Fd file_;  // the one descriptor of a stream that has ended: programs that ended are remembered by the dozen
    std::shared_ptr<const SpillSource> source_;  // shared with a step that runs in a pool
    SpillSettings settings_;
    std::uint64_t size_ = 0;
    std::uint64_t first_ = 0;
    std::uint64_t consumed_ = 0;
    std::uint64_t dropped_ = 0;
    bool busy_ = false;
    bool hung_up_ = true;
    bool settled_ = false;
    bool disk_full_logged_ = false;
    bool unlinked_ = false;
    Event grown_;    // for readers
    Event changed_;  // for the pump: room, not busy any more, hung up
};

}  // namespace sandboxd::engine
