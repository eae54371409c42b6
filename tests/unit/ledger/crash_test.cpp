// A process that is killed in the middle of its appends: what had been committed is there when the
// ledger opens again.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>

#include "sandboxd/core/fd.hpp"
#include "sandboxd/ledger/ledger.hpp"
#include "sandboxd/ledger/records.hpp"
#include "temp_dir.hpp"

namespace sandboxd::ledger {
namespace {

using namespace std::chrono_literals;

constexpr WallTime kStart = std::chrono::sys_days{std::chrono::year{2026} / 1 / 31};
constexpr const char* kPathVariable = "LEDGER_CRASH_TEST_PATH";
constexpr int kReportFd = 3;

policies::PriceBook prices() {
    policies::PriceBook book;
    book.cpu_second = 14'000'000;
    return book;
}

// Batch n of both sides: every figure follows from n. Each batch has the sandbox and one exec.
std::array<Sample, 2> batch(std::uint64_t n) {
    Counters counters;
    counters.cpu_ns = n * 1'000'003;
    counters.wall_ns = n * 1'000'000'000;
    const WallTime time = kStart + std::chrono::seconds{n};
    const auto id = SandboxId::trusted("sandbox0001");
    const auto tenant = TenantId::trusted("acme");
    return {Sample{id, tenant, 1, time, counters, false},
            Sample{id, tenant, 0, time, counters, false}};
}

// Runs only in the child: appends until it is killed, and reports each batch that append() said was
// durable. Compacts now and then, so that the kill can come in the middle of that too.
TEST_CASE("append until killed", "[.crash-child]") {
    const char* path = std::getenv(kPathVariable);
    REQUIRE(path != nullptr);
    const auto database = Database::open(path);
    REQUIRE(database);
    const auto ledger = Ledger::open(**database, {}, prices());
    REQUIRE(ledger);
    const auto last = (*ledger)->last(SandboxId::trusted("sandbox0001"), 0);
    REQUIRE(last);
    for (std::uint64_t n = *last ? (*last)->wall_ns / 1'000'000'000 + 1 : 1;; ++n) {
        const auto samples = batch(n);
        REQUIRE((*ledger)->append(samples));
        REQUIRE(::write(kReportFd, &n, sizeof n) == sizeof n);
        if (n % 97 == 0) REQUIRE((*ledger)->compact(kStart + std::chrono::seconds{n}));
    }
}

// The child in its own process, with the write end of a pipe as descriptor 3.
pid_t spawn_child(const std::string& path, int report) {
    posix_spawn_file_actions_t actions;
    REQUIRE(::posix_spawn_file_actions_init(&actions) == 0);
    REQUIRE(::posix_spawn_file_actions_adddup2(&actions, report, kReportFd) == 0);
    REQUIRE(::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) ==
            0);
    std::string self = "/proc/self/exe";
    std::string test = "append until killed";
    const std::array<char*, 3> argv{self.data(), test.data(), nullptr};
    REQUIRE(::setenv(kPathVariable, path.c_str(), 1) == 0);
    pid_t pid = 0;
    REQUIRE(::posix_spawn(&pid, self.c_str(), &actions, nullptr, argv.data(), environ) == 0);
    ::posix_spawn_file_actions_destroy(&actions);
    return pid;
}

// Lets a child append `batches` and some more, kills it, and says which batch it had last reported.
std::uint64_t append_and_kill(const std::string& path, std::uint64_t batches) {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    const Fd read_end{ends[0]};
    Fd write_end{ends[1]};
    const pid_t pid = spawn_child(path, write_end.get());
    write_end.reset();
    std::uint64_t reported = 0;
    std::uint64_t n = 0;
    for (std::uint64_t i = 0; i < batches && ::read(read_end.get(), &n, sizeof n) == sizeof n; ++i)
        reported = n;
    REQUIRE(::kill(pid, SIGKILL) == 0);
    while (::read(read_end.get(), &n, sizeof n) == sizeof n) reported = n;
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    REQUIRE(WIFSIGNALED(status));
    return reported;
}

TEST_CASE("whatever moment the process is killed at, nothing that was committed is missing") {
    const TempDir dir;
    const std::string path = dir.file("state.db");
    for (const std::uint64_t batches : {1, 40, 150, 97, 333}) {
        const std::uint64_t reported = append_and_kill(path, batches);
        REQUIRE(reported >= batches);
        const auto database = Database::open(path);
        REQUIRE(database);
        auto check = (*database)->prepare("PRAGMA integrity_check");
        REQUIRE(check);
        REQUIRE(check->step());
        CHECK(check->text(0) == "ok");
        const auto ledger = Ledger::open(**database, {}, prices());
        REQUIRE(ledger);
        const auto last = (*ledger)->last(SandboxId::trusted("sandbox0001"), 0);
        REQUIRE(last);
        REQUIRE(*last);
        // The batch that was under way is there as a whole or not at all.
        const std::uint64_t found = (*last)->wall_ns / 1'000'000'000;
        CHECK(found >= reported);
        CHECK(found <= reported + 1);
        CHECK(**last == batch(found)[1].counters);
        const auto exec = (*ledger)->last(SandboxId::trusted("sandbox0001"), 1);
        REQUIRE(exec);
        CHECK(*exec == *last);
        // Every single row is still there, compacted or not: each second has its own usage.
        for (std::uint64_t n = 1; n <= found; n += 7) {
            UsageQuery query;
            query.from = kStart + std::chrono::seconds{n};
            query.to = query.from + 1s;
            const auto page = (*ledger)->query(query);
            REQUIRE(page);
            REQUIRE(page->total.counters.cpu_ns == 1'000'003);
        }
    }
}

}  // namespace
}  // namespace sandboxd::ledger
