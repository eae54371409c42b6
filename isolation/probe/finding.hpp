#pragma once

#include <initializer_list>

#include "isolation/tested_walls.hpp"

namespace sandboxd::probe {

using Wall = isolation::TestedWall;
using isolation::WallStatus;

// What one wall did to the attempts to get through it. Attempts use arguments that the kernel itself would refuse, so
// that nothing happens where there is no wall: an errno that a wall does not give shows that the kernel was reached.
class Finding {
public:
    // `result` of a system call that just returned, errno as it stands; `refusals`: what the wall answers.
    void attempt(const char* what, long result, std::initializer_list<int> refusals);
    // A fact that is as it should be, or is not.
    void expect(bool good, const char* what);
    [[gnu::format(printf, 2, 3)]] void good(const char* format, ...);
    [[gnu::format(printf, 2, 3)]] void bad(const char* format, ...);
    // Optional walls that this kernel or this build lacks.
    void absent(const char* why);

    [[nodiscard]] WallStatus status() const { return status_; }
    // Printable ASCII, at most kMaxObserved: what is wrong when something is, else what was seen.
    [[nodiscard]] const char* observed() const { return status_ == WallStatus::broken ? bad_ : good_; }

private:
    WallStatus status_ = WallStatus::holds;
    char good_[isolation::kMaxObserved + 1] = "";
    char bad_[isolation::kMaxObserved + 1] = "";
};

// Runs `work` in a child, so that what it changes of its own process goes with it. The child's exit status as waitpid(2)
// gives it; -1 when there was no child.
[[nodiscard]] int in_child(int (*work)());

// What the walls that limit are set to in the self-test's jail.
struct Limits {
    unsigned long disk_bytes = 0;
    unsigned long processes = 0;
};

using Attempt = void (*)(Finding&, const Limits&);
struct WallAttempt {
    Wall wall;
    Attempt attempt;
};

// The tables; each ends with Wall::count.
extern const WallAttempt kKernelAttempts[];
extern const WallAttempt kSocketAttempts[];
extern const WallAttempt kSurroundingAttempts[];
extern const WallAttempt kLimitAttempts[];

}  // namespace sandboxd::probe
