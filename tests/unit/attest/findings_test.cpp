#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "sandboxd/attest/findings.hpp"
#include "sandboxd/attest/statement.hpp"
#include "sandboxd/core/sys.hpp"

using namespace sandboxd;
using namespace sandboxd::attest;
using isolation::Seen;

namespace {

std::vector<WallFinding> all_of(Seen seen, WallStatus status) {
    std::vector<WallFinding> out;
    for (const isolation::WallInfo& info : isolation::kTestedWalls) {
        if (info.seen == seen) out.push_back({info.wall, status, "as it was"});
    }
    return out;
}

TestResult sound() {
    TestResult result;
    result.walls = put_together(all_of(Seen::tried_inside, WallStatus::holds), all_of(Seen::looked_at_from_outside, WallStatus::holds));
    return result;
}

}  // namespace

TEST_CASE("walls have names of their own, and docs/security.md has a line for each") {
    const std::string text = *sys::read_file(SANDBOXD_SECURITY_TEXT);
    std::set<std::string_view> names;
    for (const isolation::WallInfo& info : isolation::kTestedWalls) {
        INFO(info.name);
        CHECK(names.insert(info.name).second);
        CHECK(text.find("| `" + std::string{info.name} + "` |") != std::string::npos);
    }
}

TEST_CASE("a wall that nobody spoke of is broken, and each side speaks of its own only") {
    const TestResult result = sound();
    REQUIRE(result.walls.size() == isolation::kTestedWallCount);
    CHECK(broken_walls(result).empty());

    const auto nothing = put_together({}, {});
    REQUIRE(nothing.size() == isolation::kTestedWallCount);
    for (const WallFinding& finding : nothing) CHECK(finding.status == WallStatus::broken);

    // A jail that claims to have been looked at from outside convinces nobody.
    auto tried = all_of(Seen::tried_inside, WallStatus::holds);
    tried.push_back({Wall::capabilities, WallStatus::holds, "trust me"});
    const auto walls = put_together(tried, {});
    CHECK(walls[static_cast<std::size_t>(Wall::capabilities)].status == WallStatus::broken);
}

TEST_CASE("absent is enough for optional walls only") {
    TestResult result = sound();
    result.walls[static_cast<std::size_t>(Wall::landlock)].status = WallStatus::absent;
    CHECK(broken_walls(result).empty());
    result.walls[static_cast<std::size_t>(Wall::landlock)].status = WallStatus::broken;
    CHECK(broken_walls(result).empty());
    result.walls[static_cast<std::size_t>(Wall::mounts)].status = WallStatus::absent;
    CHECK(broken_walls(result) == std::vector<std::string>{"mounts"});
}

TEST_CASE("nonces are short and plain") {
    CHECK(is_nonce(""));
    CHECK(is_nonce("AZaz09._-"));
    CHECK(is_nonce(std::string(128, 'a')));
    CHECK_FALSE(is_nonce(std::string(129, 'a')));
    for (const char* text : {"a b", "a\"b", "a\\b", "\n", "\xc3\xa4", "a/b"}) CHECK_FALSE(is_nonce(text));
}

TEST_CASE("the text that is signed holds what was asked and seen, and nothing but printable ASCII") {
    TestResult result = sound();
    result.took = std::chrono::milliseconds{123};
    result.walls[0].observed = "bad \x1b[31m\xff\"\n";
    Statement statement;
    statement.nonce = "once";
    statement.seccomp_sha256 = "ab";
    statement.accepted = {"io_uring"};
    const std::string text = to_text(statement, result);
    for (const char c : text) CHECK((c >= ' ' && c <= '~'));
    const auto document = nlohmann::json::parse(text);
    CHECK(document["type"] == "sandboxd/attestation/1");
    CHECK(document["nonce"] == "once");
    CHECK(document["test_ms"] == 123);
    CHECK(document["verdict"] == "holds");
    CHECK(document["accepted_broken"][0] == "io_uring");
    REQUIRE(document["walls"].size() == isolation::kTestedWallCount);
    CHECK(document["walls"][0]["observed"] == "bad ?[31m?\"?");
    CHECK(document["walls"][0]["seen"] == "inside");
    CHECK(document["walls"][static_cast<std::size_t>(Wall::landlock)]["required"] == false);
    result.walls[0].status = WallStatus::broken;
    CHECK(nlohmann::json::parse(to_text(statement, result))["verdict"] == "broken");
}
