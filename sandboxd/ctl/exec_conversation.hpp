#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "sandboxd/ctl/exec_frames.hpp"
#include "sandboxd/ctl/target.hpp"

namespace sandboxd::ctl {

enum class Input { none, forward };  // our standard input to the program's
enum class Signals {
    leave,
    forward
};  // what INT, TERM, HUP and QUIT to us mean: go away, or pass them on
enum class Tty { no, when_pty };  // raw mode and the window's size, when the program has a terminal
enum class WhenLost { attach_again, fail };  // when the connection breaks

struct ConversationOptions {
    std::string sandbox;
    std::string start;    // the start message; or
    std::string exec_id;  // the exec to attach to
    Input input = Input::none;
    Signals signals = Signals::leave;
    Tty tty = Tty::no;
    WhenLost when_lost = WhenLost::attach_again;
};

// How it ended: with the program's exit event, or because we left (a signal to us, a reader of our
// output that has gone).
struct ConversationEnd {
    std::unique_ptr<nlohmann::json> exit;  // null: we left
    int left_with = 0;                     // then: our exit code
    ConversationEnd();
    ConversationEnd(ConversationEnd&&) noexcept;
    ConversationEnd& operator=(ConversationEnd&&) noexcept;
    ~ConversationEnd();
};

// Talks to one exec over its WebSocket until it ends: its output to our standard output and error,
// our input and signals to it. A connection that breaks (the daemon is restarted) is made again at
// the byte where it ended, for a minute. What was typed into a connection as it broke may be lost.
// Blocks.
[[nodiscard]] Result<ConversationEnd> converse(const Target& target, ConversationOptions options);

}  // namespace sandboxd::ctl
