#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <functional>

#include "fs/templates.hpp"
#include "tests/integration/fs/support.hpp"
#include "tests/unit/fs/result_printer.hpp"

// Not run by default: ./fs_integration_test "[measure]"

using namespace sandboxd;
using namespace sandboxd::fs;
using namespace sandboxd::fs::test;

namespace {

void report(const char* what, int rounds, const std::function<void(int)>& call) {
    std::vector<double> micros;
    for (int i = 0; i < rounds; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        call(i);
        micros.push_back(
            std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
                .count());
    }
    std::sort(micros.begin(), micros.end());
    std::printf("%-28s median %8.1f us  p95 %8.1f us  (%d)\n", what, micros[micros.size() / 2],
                micros[micros.size() * 95 / 100], rounds);
}

}  // namespace

TEST_CASE("how long each call takes", "[.][measure]") {
    constexpr int kRounds = 200;
    const StateDir state;
    report("open, new image", 1, [&](int) { (void)state.open(); });
    report("open, mounted", 20, [&](int) { (void)state.open(); });
    const auto pool = state.open();
    const auto name = [](const char* prefix, int i) { return prefix + std::to_string(i); };
    report("create", kRounds, [&](int i) { REQUIRE(pool->create(name("v", i), 64 * kMiB)); });
    report("set_limit", kRounds, [&](int i) { REQUIRE(pool->set_limit(name("v", i), 32 * kMiB)); });
    REQUIRE(append(state.path() + "/pool/v0/u/f", 16 * kMiB, Sync::yes).error == 0);
    report("used_bytes", kRounds, [&](int i) { REQUIRE(pool->used_bytes(name("v", i))); });
    report("snapshot of 16 MiB", kRounds,
           [&](int i) { REQUIRE(pool->snapshot("v0", name("s", i), 64 * kMiB)); });
    report("status", kRounds, [&](int) { REQUIRE(pool->status()); });
    report("list of 400", 20, [&](int) { REQUIRE(pool->list()); });
    report("remove", kRounds, [&](int i) { REQUIRE(pool->remove(name("v", i))); });
    report("remove a snapshot", kRounds, [&](int i) { REQUIRE(pool->remove(name("s", i))); });
    report("templates, first", 1, [&](int) { REQUIRE(TemplateStore::open(state.path())); });
    report("templates, again", 20, [&](int) { REQUIRE(TemplateStore::open(state.path())); });
}
