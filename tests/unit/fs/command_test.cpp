#include "fs/command.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/fs/result_printer.hpp"

using namespace sandboxd;
using namespace sandboxd::fs;
using namespace std::chrono_literals;

namespace {

std::string shell() {
    const auto path = find_program("sh", "/bin:/usr/bin");
    REQUIRE(path);
    return *path;
}

}  // namespace

TEST_CASE("a program is found by its absolute path") {
    const auto found = find_program("sh", "/nowhere:/bin");
    REQUIRE(found);
    CHECK(*found == "/bin/sh");
}

TEST_CASE("a program that is missing, not executable or in a relative folder is not found") {
    for (const char* search : {"", "/nowhere", "bin:.", "/proc/self"}) {
        const auto found = find_program("status", search);
        REQUIRE_FALSE(found);
        CHECK(found.error().is(Errc::not_found));
    }
}

TEST_CASE("a command that succeeds is quiet") {
    CHECK(run_command(shell(), {"-c", "exit 0"}, 10s));
}

TEST_CASE("a command that fails tells its exit code and what it printed on both streams") {
    const auto result = run_command(shell(), {"-c", "echo out; echo err >&2; exit 3"}, 10s);
    REQUIRE_FALSE(result);
    CHECK(result.error().is(Errc::internal));
    CHECK(result.error().message().find("exited with 3: out\nerr") != std::string::npos);
}

TEST_CASE("of much output the end is kept") {
    const auto result = run_command(
        shell(), {"-c", "i=0; while [ $i -lt 2000 ]; do echo line$i; i=$((i+1)); done; exit 1"},
        10s);
    REQUIRE_FALSE(result);
    CHECK(result.error().message().ends_with("line1999"));
    CHECK(result.error().message().size() < 2200);
}

TEST_CASE("a command's arguments are words, not shell text, and its environment is ours") {
    ::setenv("SANDBOXD_TEST_SECRET", "leaked", 1);
    const auto result = run_command(
        shell(),
        {"-c", "echo \"[$1][${SANDBOXD_TEST_SECRET-}][$PATH]\"; exit 1", "x", "$(id) ; `id`"}, 10s);
    ::unsetenv("SANDBOXD_TEST_SECRET");
    REQUIRE_FALSE(result);
    CHECK(result.error().message().ends_with("[$(id) ; `id`][][/usr/sbin:/usr/bin:/sbin:/bin]"));
}

TEST_CASE("a command that hangs is killed at its limit") {
    const auto begin = std::chrono::steady_clock::now();
    const auto result = run_command(shell(), {"-c", "read never < /dev/zero"}, 50ms);
    REQUIRE_FALSE(result);
    CHECK(result.error().is(Errc::timeout));
    CHECK(std::chrono::steady_clock::now() - begin < 5s);
}

TEST_CASE("a command that dies of a signal says which") {
    const auto result = run_command(shell(), {"-c", "kill -9 $$"}, 10s);
    REQUIRE_FALSE(result);
    CHECK(result.error().message().find("died of signal 9") != std::string::npos);
}

TEST_CASE("a program that can't be run is an error of its own") {
    const auto result = run_command("/nowhere/mkfs", {}, 10s);
    REQUIRE_FALSE(result);
    CHECK(result.error().errc() == Errc::not_found);
}
