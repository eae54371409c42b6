#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <iostream>
#include <thread>

#include "machine.hpp"

namespace sandboxd::isolation::test {

namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;

std::size_t mounts() {
    const std::string text = get(sys::read_file("/proc/self/mountinfo", 16 << 20));
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

void report(const char* what, std::vector<double> times) {
    std::sort(times.begin(), times.end());
    std::cout << what << ": median " << times[times.size() / 2] << " ms, p90 "
              << times[times.size() * 9 / 10] << " ms over " << times.size() << '\n';
}

Deadline patience() {
    return Deadline::after(std::chrono::seconds{30});
}

}  // namespace

TEST_CASE("two hundred jails, one after the other, leave nothing", "[soak]") {
    Machine machine;
    const std::size_t descriptors = open_descriptors();
    const std::size_t mounted = mounts();
    std::vector<double> groups, launches;
    for (int i = 0; i < 200; ++i) {
        const std::string name = "s" + std::to_string(i);
        const auto began = Clock::now();
        const auto cgroup = machine.group(name);
        groups.push_back(Milliseconds{Clock::now() - began}.count());
        // Every fifth fails, in a different way each time.
        const char* mode = i % 5 != 4 ? "ready" : (i % 10 == 4 ? "die" : "fail");
        const auto launching = Clock::now();
        auto jail = run(Jail::launch(machine.spec(*cgroup, mode), patience()));
        if (jail) launches.push_back(Milliseconds{Clock::now() - launching}.count());
        REQUIRE(static_cast<bool>(jail) == (i % 5 != 4));
        if (jail) {
            end(*jail, *cgroup);
        } else {
            REQUIRE(cgroup->remove());
        }
    }
    report("control groups of a sandbox", std::move(groups));
    report("launch (fake init)", std::move(launches));
    CHECK(children_of_this_process().empty());
    CHECK(open_descriptors() == descriptors);
    CHECK(mounts() == mounted);
    CHECK(get(machine.driver().list()).empty());
}

TEST_CASE("launches on one thread run interleaved: a hanging one holds up none of the others") {
    Machine machine;
    constexpr int kCount = 8;
    std::vector<std::unique_ptr<SandboxCgroup>> groups;
    for (int i = 0; i < kCount; ++i) groups.push_back(machine.group("i" + std::to_string(i)));
    std::vector<std::optional<Result<Jail>>> jails(kCount);
    std::optional<Result<Jail>> hanging;
    asio::io_context context;
    const auto hung = machine.group("hung");
    start(context, Jail::launch(machine.spec(*hung, "hang"), patience()), hanging);
    std::size_t most = 0;
    for (int i = 0; i < kCount; ++i) {
        start(context, Jail::launch(machine.spec(*groups[i]), patience()), jails[i]);
    }
    const auto ready = [&] {
        return std::all_of(jails.begin(), jails.end(),
                           [](const auto& jail) { return jail.has_value(); });
    };
    while (!ready()) {
        context.run_one();
        most = std::max(most, children_of_this_process().size());
    }
    CHECK(most == kCount + 1);
    CHECK_FALSE(hanging);
    for (int i = 0; i < kCount; ++i) {
        REQUIRE(*jails[i]);
        end(**jails[i], *groups[i]);
    }
    // The group's end is the hanging one's, too.
    REQUIRE(hung->kill());
    context.run();
    REQUIRE(hanging);
    REQUIRE_FALSE(*hanging);
    CHECK(hanging->error().is(Errc::protocol_error));
    CHECK(children_of_this_process().empty());
    REQUIRE(hung->remove());
}

TEST_CASE("threads that open and run as root meanwhile never see the borrowed uid", "[soak]") {
    Machine machine;
    std::atomic<bool> stop{false};
    std::atomic<int> wrong{0};
    std::atomic<int> looked{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&] {
            while (!stop) {
                if (::geteuid() != 0) ++wrong;
                ++looked;
            }
        });
    }
    for (int i = 0; i < 20; ++i) {
        const auto cgroup = machine.group("t" + std::to_string(i));
        auto jail = get(run(Jail::launch(machine.spec(*cgroup), patience())));
        CHECK(::geteuid() == 0);
        end(jail, *cgroup);
    }
    stop = true;
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK(looked > 0);
}

}  // namespace sandboxd::isolation::test
