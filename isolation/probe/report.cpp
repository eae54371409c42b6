#include "isolation/probe/report.hpp"

#include <string.h>

namespace sandboxd::probe {

using Wall = isolation::TestedWall;
using isolation::WallReport;
using isolation::WallStatus;

namespace {

// A decimal number up to a blank; false when it is none, or not below `limit`.
bool take_number(std::string_view& line, unsigned limit, unsigned& number) {
    number = 0;
    std::size_t i = 0;
    for (; i < line.size() && line[i] != ' '; ++i) {
        if (line[i] < '0' || line[i] > '9' || i >= 4) return false;
        number = number * 10 + static_cast<unsigned>(line[i] - '0');
    }
    if (i == 0 || i == line.size() || number >= limit) return false;
    line.remove_prefix(i + 1);
    return true;
}

}  // namespace

void Reports::put(Wall wall, WallStatus status, std::string_view observed) {
    Entry& entry = entries_[static_cast<std::size_t>(wall)];
    // Of two users, the one who got further counts; else the last one's words.
    if (entry.known && status < entry.status) return;
    entry.known = true;
    entry.status = status;
    const std::size_t size = observed.size() < isolation::kMaxObserved ? observed.size() : isolation::kMaxObserved;
    for (std::size_t i = 0; i < size; ++i) entry.observed[i] = observed[i] >= ' ' && observed[i] <= '~' ? observed[i] : '?';
    entry.observed[size] = '\0';
}

bool Reports::take_line(std::string_view line, bool as_root) {
    unsigned wall = 0;
    unsigned status = 0;
    if (!take_number(line, isolation::kTestedWallCount, wall) || !take_number(line, 3, status)) return false;
    const auto which = static_cast<Wall>(wall);
    if (isolation::wall_info(which).seen != isolation::Seen::tried_inside) return false;
    char observed[isolation::kMaxObserved + 1] = "as root: ";
    const std::size_t used = as_root ? ::strlen(observed) : 0;
    const std::size_t room = isolation::kMaxObserved - used;
    const std::size_t size = line.size() < room ? line.size() : room;
    ::memcpy(observed + used, line.data(), size);
    put(which, static_cast<WallStatus>(status), {observed, used + size});
    return true;
}

bool Reports::take(std::string_view text, bool as_root) {
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        if (end == std::string_view::npos) return false;
        if (text.substr(0, end + 1) == kEndOfReports) return true;
        if (!take_line(text.substr(0, end), as_root)) return false;
        text.remove_prefix(end + 1);
    }
    return false;
}

WallReport Reports::of(Wall wall) const {
    const Entry& entry = entries_[static_cast<std::size_t>(wall)];
    WallReport report;
    report.wall = wall;
    report.status = entry.status;
    report.observed = entry.known ? std::string_view{entry.observed} : std::string_view{"nobody tried"};
    return report;
}

}  // namespace sandboxd::probe
