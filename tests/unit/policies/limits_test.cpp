#include "policies/limits.hpp"

#include <catch2/catch.hpp>
#include <functional>
#include <limits>

namespace sandboxd::policies {
namespace {

Error::Fact fact(const Error& error, std::string_view key) {
    for (const auto& [name, value] : error.facts()) {
        if (name == key) return value;
    }
    return std::string{"no such fact"};
}

TEST_CASE("what is at the ceiling is allowed, and the defaults are below it") {
    const TenantLimits ceiling;
    CHECK(check_limits(ceiling.per_sandbox, ceiling));
    CHECK(check_limits(Limits{}, ceiling));
    CHECK(check_limits(kLeastLimits, ceiling));
}

TEST_CASE("one unit above the ceiling is refused, and the facts say what was asked and allowed") {
    struct Case {
        const char* limit;
        std::function<void(Limits&)> ask;
        Error::Fact asked;
        Error::Fact allowed;
    };
    const TenantLimits ceiling;
    const std::int64_t memory_mb = 16 << 10;
    const std::int64_t disk_mb = 64 << 10;
    const std::int64_t output_mb = 8 << 10;
    const std::vector<Case> cases{
        {"cpus", [](Limits& l) { l.cpu_milli = 8500; }, std::string{"8.5"}, std::string{"8"}},
        {"cpus", [](Limits& l) { l.cpu_milli = 8001; }, std::string{"8.001"}, std::string{"8"}},
        {"memory_mb", [](Limits& l) { l.memory_bytes += 16ULL << 30; }, memory_mb + 512, memory_mb},
        {"disk_mb", [](Limits& l) { l.disk_bytes = (64ULL << 30) + 1; }, disk_mb + 1, disk_mb},
        {"pids", [](Limits& l) { l.pids = 4097; }, std::int64_t{4097}, std::int64_t{4096}},
        {"output_mb", [](Limits& l) { l.output_bytes = 9ULL << 30; }, std::int64_t{9216},
         output_mb},
    };
    for (const Case& c : cases) {
        INFO(c.limit);
        Limits asked;
        c.ask(asked);
        const auto result = check_limits(asked, ceiling);
        REQUIRE(!result);
        CHECK(result.error().is(Errc::limit_exceeded));
        CHECK(fact(result.error(), "limit") == Error::Fact{std::string{c.limit}});
        CHECK(fact(result.error(), "asked") == c.asked);
        CHECK(fact(result.error(), "allowed") == c.allowed);
        CHECK(result.error().message().find(c.limit) != std::string::npos);
    }
}

TEST_CASE("the largest numbers do not wrap around into something allowed") {
    Limits asked;
    asked.memory_bytes = std::numeric_limits<std::uint64_t>::max();
    const auto result = check_limits(asked, TenantLimits{});
    REQUIRE(!result);
    CHECK(fact(result.error(), "asked") == Error::Fact{std::int64_t{1} << 44});
}

TEST_CASE("the ceiling is the tenant's own") {
    TenantLimits small;
    small.per_sandbox.pids = 100;
    CHECK(!check_limits(Limits{}, small));
}

}  // namespace
}  // namespace sandboxd::policies
