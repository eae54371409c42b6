#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "api/stream_race.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/output.hpp"

namespace sandboxd::api {

// Reads one output stream piece by piece, until the stream has ended or, once `end` is set, until what was there at
// that moment: a program's background children may go on writing, and an answer must not wait for them.
// `output` and `end` must outlive it.
class OutputReader {
public:
    // Large enough that a fast stream costs few system calls. Untouched memory costs nothing.
    static constexpr std::size_t kPiece = 256 * 1024;

    OutputReader(engine::Output& output, std::uint64_t offset, Latch& end, std::size_t piece = kPiece);

    // The next bytes; empty: the end. Valid until the next call. range_not_satisfiable when the offset is outside of
    // what is kept, canceled.
    [[nodiscard]] asio::awaitable<Result<std::span<const std::byte>>> next();
    // The last `bytes` of the piece come again, at the front of the next one.
    void keep(std::size_t bytes) noexcept { kept_ = bytes; }
    // The piece that next() gave is the last one.
    [[nodiscard]] bool at_end() const noexcept { return at_end_; }
    // Where the piece that next() gave begins.
    [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
    // Behind the piece, without what is kept.
    [[nodiscard]] std::uint64_t taken() const noexcept { return offset_ + size_ - kept_; }

private:
    [[nodiscard]] asio::awaitable<Result<std::size_t>> fill(std::span<std::byte> room, std::uint64_t from);
    [[nodiscard]] asio::awaitable<Result<void>> read_into(std::span<std::byte> room, std::uint64_t from, std::size_t& got);
    [[nodiscard]] std::span<std::byte> bounded(std::span<std::byte> room, std::uint64_t from) const noexcept;

    engine::Output& output_;
    Latch& end_;
    std::unique_ptr<std::byte[]> buffer_;
    std::size_t capacity_;
    std::uint64_t offset_;
    std::uint64_t limit_;    // no byte from here on: known once `end` is set
    std::size_t size_ = 0;
    std::size_t kept_ = 0;
    bool at_end_ = false;
};

}  // namespace sandboxd::api
