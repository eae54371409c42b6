#pragma once

#include <cstdint>
#include <optional>

#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::engine {

// What a spill file is filled from: a pipe's read end, or a terminal whose bytes go through a relay pipe, because the
// kernel splices into files only from pipes. A byte is always in the terminal, the relay or the file. A resource;
// move_* block and run in a pool, one at a time.
class SpillSource {
public:
    [[nodiscard]] static SpillSource pipe(Fd read_end);
    [[nodiscard]] static SpillSource terminal(Fd master, Fd relay_read, Fd relay_write);

    // Becomes readable when there is something to move, or at the end.
    [[nodiscard]] int wait_on() const noexcept { return is_terminal() ? master_.get() : pipe_.get(); }
    [[nodiscard]] bool is_terminal() const noexcept { return master_.valid(); }
    // An upper bound of what was written before this call and has not been moved.
    [[nodiscard]] std::uint64_t pending() const;

    struct Moved {
        std::uint64_t bytes = 0;
        bool empty = false;           // there was no more
        bool end = false;             // no writer is left, and no byte
        std::optional<Error> error;   // of the file: the bytes that are not counted are still in the source
    };
    [[nodiscard]] Moved move_to_file(int file, std::uint64_t offset, std::uint64_t most) const;
    [[nodiscard]] Moved move_to_nowhere(std::uint64_t most) const;

private:
    template <class Take>
    [[nodiscard]] Moved move(std::uint64_t most, Take take) const;
    // From the terminal into the relay; false when nothing came (then `moved` says why).
    [[nodiscard]] bool fill_relay(Moved& moved) const;

    Fd pipe_;         // read end: of the program's output, or of the relay
    Fd master_;
    Fd relay_write_;
};

}  // namespace sandboxd::engine
