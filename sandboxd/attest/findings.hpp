#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "isolation/tested_walls.hpp"
#include "sandboxd/core/clock.hpp"

namespace sandboxd::attest {

using Wall = isolation::TestedWall;
using isolation::WallStatus;

// What was seen of one wall. A value.
struct WallFinding {
    Wall wall = Wall::count;
    WallStatus status = WallStatus::broken;
    std::string observed;  // printable ASCII, at most isolation::kMaxObserved
    bool operator==(const WallFinding&) const = default;
};

// One self-test. A value.
struct TestResult {
    WallTime begun{};
    std::chrono::milliseconds took{};
    std::vector<WallFinding> walls;  // every wall once, in the order of isolation::kTestedWalls
    bool operator==(const TestResult&) const = default;
};

[[nodiscard]] std::string_view to_string(WallStatus status) noexcept;

// Required walls that do not hold, by name. An absent one that is required does not hold.
[[nodiscard]] std::vector<std::string> broken_walls(const TestResult& result);

// Brings what both sides saw into the order of isolation::kTestedWalls; a wall that nobody spoke of is broken.
[[nodiscard]] std::vector<WallFinding> put_together(std::vector<WallFinding> tried, std::vector<WallFinding> looked_at);

}  // namespace sandboxd::attest
