#include "sandboxd/manager/cpu_spread.hpp"

#include <catch2/catch.hpp>

namespace sandboxd::manager {

using Promised = std::vector<std::uint64_t>;

TEST_CASE("sandboxes are placed where the least is promised") {
    CpuSpread spread{4};
    CHECK(spread.place(1000) == 0);
    CHECK(spread.place(1000) == 1);
    CHECK(spread.place(500) == 2);
    CHECK(spread.place(500) == 3);
    CHECK(spread.place(2000) == 2);
    CHECK(spread.promised() == Promised{1000, 1000, 1500, 1500});
}

TEST_CASE("a place runs around the end of the list, and more than there is takes all") {
    CpuSpread spread{3};
    spread.add(2, 2000);
    CHECK(spread.promised() == Promised{1000, 0, 1000});
    spread.add(1, 9000);
    CHECK(spread.promised() == Promised{4000, 3000, 4000});
}

TEST_CASE("what is removed is free again, and never less than nothing") {
    CpuSpread spread{2};
    const std::uint32_t first = spread.place(1500);
    spread.remove(first, 1500);
    CHECK(spread.promised() == Promised{0, 0});
    spread.remove(0, 1000);
    CHECK(spread.promised() == Promised{0, 0});
    CHECK(spread.place(1000) == 0);
}

TEST_CASE("a machine without a known number of CPUs has one") {
    CpuSpread spread{0};
    CHECK(spread.place(4000) == 0);
    CHECK(CpuSpread::cpus_of_this_process() >= 1);
}

}  // namespace sandboxd::manager
