// What comes out of a jail is read by Reports: nothing but what sandbox-probe writes may get through.
#include <catch2/catch.hpp>
#include <algorithm>
#include <memory>
#include <random>

#include "isolation/probe/report.hpp"

using namespace sandboxd;
using Wall = isolation::TestedWall;
using isolation::WallStatus;
using probe::Reports;

namespace {
const std::string kEnd = probe::kEndOfReports;
std::string line(Wall wall, int status, const std::string& observed) {
    return std::to_string(static_cast<int>(wall)) + ' ' + std::to_string(status) + ' ' + observed + '\n';
}
}  // namespace

TEST_CASE("reports are taken as they are written") {
    Reports reports;
    REQUIRE(reports.take(line(Wall::mounts, 0, "mount EPERM") + line(Wall::bpf, 2, "bpf got through") + kEnd, false));
    CHECK(reports.of(Wall::mounts).status == WallStatus::holds);
    CHECK(reports.of(Wall::mounts).observed == "mount EPERM");
    CHECK(reports.of(Wall::bpf).status == WallStatus::broken);
    CHECK(reports.of(Wall::keyrings).status == WallStatus::broken);
    CHECK(reports.of(Wall::keyrings).observed == "nobody tried");
}

TEST_CASE("of two users the one who got further counts") {
    Reports reports;
    REQUIRE(reports.take(line(Wall::mounts, 2, "mount got through") + line(Wall::bpf, 0, "EPERM") + kEnd, true));
    REQUIRE(reports.take(line(Wall::mounts, 0, "mount EPERM") + line(Wall::bpf, 0, "bpf EPERM") + kEnd, false));
    CHECK(reports.of(Wall::mounts).status == WallStatus::broken);
    CHECK(reports.of(Wall::mounts).observed == "as root: mount got through");
    CHECK(reports.of(Wall::bpf).observed == "bpf EPERM");
}

TEST_CASE("another shape is refused") {
    const std::string good = line(Wall::mounts, 0, "x");
    for (const std::string& text : {std::string{}, good, good + "end\n", std::string{"mounts 0 x\n"} + kEnd, std::string{"1 0\n"} + kEnd,
                                    std::string{"-1 0 x\n"} + kEnd, std::string{"99 0 x\n"} + kEnd, std::string{"2 3 x\n"} + kEnd,
                                    std::string{"00002 0 x\n"} + kEnd, std::string{" 2 0 x\n"} + kEnd, std::string{"2  0 x\n"} + kEnd,
                                    line(Wall::capabilities, 0, "not for the jail to say") + kEnd}) {
        INFO(text);
        Reports reports;
        CHECK_FALSE(reports.take(text, false));
    }
}

TEST_CASE("what is observed is cut and made printable") {
    Reports reports;
    REQUIRE(reports.take(line(Wall::mounts, 0, "\x1b[2J" + std::string(1000, 'a')) + kEnd, true));
    const std::string observed{reports.of(Wall::mounts).observed};
    CHECK(observed.size() == isolation::kMaxObserved);
    CHECK(observed.starts_with("as root: ?[2Jaaa"));
}

TEST_CASE("hostile bytes are refused or taken, never read beyond") {
    std::mt19937 random{7};
    const std::string alphabet = "0123456789 \n\004abc\xff";
    for (int round = 0; round < 20'000; ++round) {
        std::string text;
        for (auto i = random() % 60; i > 0; --i) text += alphabet[random() % alphabet.size()];
        // On the heap and of this size exactly, so that the sanitizers see a step too far.
        const std::unique_ptr<char[]> copy{new char[text.size()]};
        std::copy(text.begin(), text.end(), copy.get());
        static Reports reports;
        (void)reports.take({copy.get(), text.size()}, round % 2 == 0);
    }
    SUCCEED();
}
