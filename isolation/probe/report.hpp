#pragma once

#include <string_view>

#include "isolation/tested_walls.hpp"

namespace sandboxd::probe {

// A line of the program in the jail for each wall, "NUMBER STATUS OBSERVED\n", then this one.
inline constexpr const char* kEndOfReports = "\004\n";  // not printable: no report can end so

// What programs in the jail said of the walls, put together. A wall that nobody spoke of is broken.
class Reports {
public:
    // False when it is not what the program says: another shape, an unknown number, the end missing.
    [[nodiscard]] bool take(std::string_view text, bool as_root);
    void put(isolation::TestedWall wall, isolation::WallStatus status, std::string_view observed);
    // Points into this object.
    [[nodiscard]] isolation::WallReport of(isolation::TestedWall wall) const;

private:
    struct Entry {
        bool known = false;
        isolation::WallStatus status = isolation::WallStatus::broken;
        char observed[isolation::kMaxObserved + 1] = "";
    };
    bool take_line(std::string_view line, bool as_root);
    Entry entries_[isolation::kTestedWallCount];
};

}  // namespace sandboxd::probe
