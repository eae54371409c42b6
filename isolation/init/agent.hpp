#pragma once

#include "isolation/init/jail_state.hpp"

namespace sandboxd::init {

// Serves the agent protocol and reaps, for ever. As PID 1 its end is the jail's end.
[[noreturn]] void run_agent(JailState& jail);

}  // namespace sandboxd::init
