#pragma once

#include "sandboxd/core/async.hpp"

namespace sandboxd::engine {

// Where blocking work runs, apart by what can make it slow, so that one kind never waits for another.
struct IoPools {
    BlockingPool spill{2};      // pipes into spill files, cgroup counters, the spool
    // A terminal's reads and writes follow an O_NONBLOCK flag that its jail shares and could clear: what hangs then
    // are these threads, until that jail is destroyed, and no output pipe of anybody.
    BlockingPool terminal{2};
    BlockingPool files{2};      // files of sandboxes
};

}  // namespace sandboxd::engine
