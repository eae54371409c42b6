#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <span>

#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::engine {

namespace asio = boost::asio;

enum class OverLimit {
    truncate,  // bytes above the cap are read and dropped; the program never notices
    block,     // the program waits until a reader has taken what is there; older bytes are dropped from the file
};

// One output stream: a spill file outside the jail that grows, and a stream for any number of readers. Bytes have
// offsets from 0; a reader can come back at any offset. A slow reader never slows the program (unless `block` was
// asked for); memory stays flat however much is written.
class Output {
public:
    virtual ~Output() = default;

    [[nodiscard]] virtual std::uint64_t size() const = 0;        // bytes that are in the file: what can be read
    [[nodiscard]] virtual std::uint64_t dropped() const = 0;     // bytes above the cap (truncate)
    [[nodiscard]] virtual std::uint64_t first_offset() const = 0;// older bytes are gone (block); 0 otherwise
    [[nodiscard]] virtual bool ended() const = 0;                // nothing more will come
    [[nodiscard]] bool truncated() const { return dropped() != 0; }

    // Bytes from `offset`: at least one; waits for them; 0 means the stream ended there. range_not_satisfiable below
    // first_offset() or above size(); timeout; canceled.
    [[nodiscard]] virtual asio::awaitable<Result<std::size_t>> read(std::uint64_t offset, std::span<std::byte> buffer,
                                                                    Deadline deadline) = 0;
    // The same without waiting: 0 when nothing is there.
    [[nodiscard]] virtual asio::awaitable<Result<std::size_t>> read_now(std::uint64_t offset, std::span<std::byte> buffer) = 0;
    // With OverLimit::block: a client has taken everything below `offset`.
    virtual void consumed(std::uint64_t offset) = 0;
};

}  // namespace sandboxd::engine
