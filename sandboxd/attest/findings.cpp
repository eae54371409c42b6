#include "sandboxd/attest/findings.hpp"

namespace sandboxd::attest {

std::string_view to_string(WallStatus status) noexcept {
    switch (status) {
        case WallStatus::holds: return "holds";
        case WallStatus::absent: return "absent";
        case WallStatus::broken: return "broken";
    }
    return "broken";
}

std::vector<std::string> broken_walls(const TestResult& result) {
    std::vector<std::string> out;
    for (const WallFinding& finding : result.walls) {
        const isolation::WallInfo& info = isolation::wall_info(finding.wall);
        if (info.required && finding.status != WallStatus::holds) out.emplace_back(info.name);
    }
    return out;
}

std::vector<WallFinding> put_together(std::vector<WallFinding> tried, std::vector<WallFinding> looked_at) {
    std::vector<WallFinding> out;
    for (const isolation::WallInfo& info : isolation::kTestedWalls) {
        WallFinding finding{info.wall, WallStatus::broken, "nobody looked"};
        // Each side speaks of its own walls only.
        for (WallFinding& said : info.seen == isolation::Seen::tried_inside ? tried : looked_at) {
            if (said.wall == info.wall) finding = std::move(said);
        }
        out.push_back(std::move(finding));
    }
    return out;
}

}  // namespace sandboxd::attest
