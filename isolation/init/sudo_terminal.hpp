#pragma once

#include <signal.h>
#include <termios.h>

#include <cstddef>

namespace sandboxd::init {

// A terminal for the command between it and the caller's: the command leads a session of its own, which the caller's
// terminal can't be part of. Bytes go both ways unchanged, so that the inner terminal does the line editing and makes the
// signals; the size follows.
class SudoTerminal {
public:
    SudoTerminal() = default;
    SudoTerminal(const SudoTerminal&) = delete;
    SudoTerminal& operator=(const SudoTerminal&) = delete;
    ~SudoTerminal() { restore(); }

    // Replaces what of stdio[0..2] is a terminal by the inner one. False when none is, or there is no inner one to be had.
    bool open(int (&stdio)[3]);
    // Which of them it replaced first.
    [[nodiscard]] int first() const { return first_; }
    [[nodiscard]] bool is_open() const { return master_ >= 0; }
    // Once the command has its end.
    void begin();
    [[nodiscard]] int input() const { return pending_ == 0 && reads_ ? 0 : -1; }
    [[nodiscard]] int master() const { return master_; }
    [[nodiscard]] bool wants_write() const { return pending_ > 0; }
    void resize();
    void from_caller();
    // False when there was nothing, or never will be.
    bool to_caller();
    void flush();
    // What the command wrote before it ended; then the caller's terminal is as it was.
    void end();

private:
    void restore();

    int master_ = -1;
    int slave_ = -1;
    int outer_ = -1;  // where the command's output goes
    int first_ = -1;
    bool reads_ = false;
    bool raw_ = false;
    termios saved_{};
    char buffer_[4096];
    std::size_t pending_ = 0;
    std::size_t written_ = 0;
};

}  // namespace sandboxd::init
