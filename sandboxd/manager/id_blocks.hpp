#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "isolation/id_map.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::manager {

// The host ids of this daemon's sandboxes: kIdRange ids each. Each daemon of a machine holds one of 15 slots of 4096
// blocks (ids slot<<28 and up), claimed by a locked file in /run/sandboxd/slots, so that two daemons never hand out the
// same ids. A slot whose daemon died stays its own while that daemon's state folder still records sandboxes.
class IdBlocks {
public:
    static constexpr std::uint32_t kBlocks = 4096;

    // The slot this state folder had before, or a free one.
    [[nodiscard]] static Result<IdBlocks> claim(const std::string& state_dir);

    // A free block; the one that was given back longest ago, so that ids are reused late. node_full when none is left.
    [[nodiscard]] Result<isolation::IdMap> allocate();
    // A block that a sandbox from before a restart holds. conflict when it is taken or not of this slot.
    [[nodiscard]] Result<void> take(isolation::IdMap ids);
    void release(isolation::IdMap ids);
    // An id of the host for the API process where the machine has no user `sandboxd`.
    [[nodiscard]] std::uint32_t api_fallback_id() const noexcept;
    // One more, for the conductor of self-tests.
    [[nodiscard]] std::uint32_t probe_id() const noexcept;

private:
    IdBlocks(Fd lock, std::uint32_t slot);
    Fd lock_;
    std::uint32_t slot_;
    std::vector<bool> used_;
    std::uint32_t next_ = 0;
};

}  // namespace sandboxd::manager
