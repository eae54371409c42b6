#pragma once

#include <cstdint>
#include <string_view>

#include "sandboxd/agent/protocol.hpp"

namespace sandboxd::init {

// Loads the argument filter with a listener (seccomp(2), SECCOMP_FILTER_FLAG_NEW_LISTENER). Returns it, close-on-exec.
int load_filter_with_listener(std::string_view program);

// The calls that execs were refused: answered with the errno of their rule, and counted. Of a call only its number and
// its registers are looked at: no pointer is followed, and no call is ever let through (SECCOMP_USER_NOTIF_FLAG_CONTINUE),
// so there is nothing to race for. While an exec's caller waits here it can't make the next call: a flood is as slow as
// its answers.
class Refusals {
public:
    enum class Served {
        nothing,    // the caller has gone, or was interrupted and asks again
        counted,
        new_entry,  // the list has become longer
        hung_up,    // nobody is left under this filter
    };
    // Answers one waiting call. Only when poll(2) says that the listener is readable: then it does not block, because
    // nobody else reads from it.
    Served serve(int listener, std::uint32_t place, std::string_view rules);

    // Before the first serve of an exec at this place.
    void clear(std::uint32_t place) { cleared_[place] = false; }
    // Null while nothing was refused.
    [[nodiscard]] const agent::ExecRefusals* of(std::uint32_t place) const;

private:
    Served count(std::uint32_t place, const agent::Refusal& refusal);

    bool cleared_[agent::kMaxExecs] = {};
};

}  // namespace sandboxd::init
