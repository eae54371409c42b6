#include "api/stream_reader.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "sandboxd/core/assert.hpp"

namespace sandboxd::api {

OutputReader::OutputReader(engine::Output& output, std::uint64_t offset, Latch& end, std::size_t piece)
    : output_{output},
      end_{end},
      buffer_{std::make_unique_for_overwrite<std::byte[]>(piece)},
      capacity_{piece},
      offset_{offset},
      limit_{std::numeric_limits<std::uint64_t>::max()} {}

asio::awaitable<Result<std::span<const std::byte>>> OutputReader::next() {
    SBX_ASSERT(kept_ < capacity_);
    offset_ = taken();
    std::memmove(buffer_.get(), buffer_.get() + size_ - kept_, kept_);
    size_ = std::exchange(kept_, 0);
    if (!at_end_) {
        const std::span<std::byte> room{buffer_.get() + size_, capacity_ - size_};
        SBX_CO_TRY(const std::size_t got, co_await fill(room, offset_ + size_));
        at_end_ = got == 0;
        size_ += got;
    }
    co_return std::span<const std::byte>{buffer_.get(), size_};
}

std::span<std::byte> OutputReader::bounded(std::span<std::byte> room, std::uint64_t from) const noexcept {
    const std::uint64_t left = limit_ > from ? limit_ - from : 0;
    return room.first(static_cast<std::size_t>(std::min<std::uint64_t>(room.size(), left)));
}

asio::awaitable<Result<std::size_t>> OutputReader::fill(std::span<std::byte> room, std::uint64_t from) {
    while (true) {
        if (end_.is_set()) limit_ = std::min(limit_, output_.size());
        // Asked before the read: what arrives between a read that found nothing and the question would be lost.
        const bool last = end_.is_set() || output_.ended();
        const std::span<std::byte> allowed = bounded(room, from);
        if (allowed.empty()) co_return std::size_t{0};
        SBX_CO_TRY(const std::size_t there, co_await output_.read_now(from, allowed));
        if (there != 0 || last) co_return there;
        std::size_t got = 0;
        auto read = read_into(room, from, got);
        auto end = end_.wait(Deadline::never());
        auto either = race(std::move(read), std::move(end));
        Raced raced = co_await std::move(either);
        if (!raced.result) co_return std::move(raced.result).error();
        if (raced.finished) co_return got;
    }
}

asio::awaitable<Result<void>> OutputReader::read_into(std::span<std::byte> room, std::uint64_t from, std::size_t& got) {
    SBX_CO_TRY(got, co_await output_.read(from, room, Deadline::never()));
    co_return Result<void>{};
}

}  // namespace sandboxd::api
