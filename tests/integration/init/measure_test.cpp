// What the init costs. Prints figures, and holds the two that are promised: run with `init_integration_test [measure]`.
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>

#include "sandboxd/core/sys.hpp"
#include "tests/integration/init/sandbox.hpp"

namespace sandboxd::init_test {
namespace {

long kibibytes(const std::string& status, const std::string& field) {
    const auto at = status.find(field + ":");
    REQUIRE(at != std::string::npos);
    return std::stol(status.substr(at + field.size() + 1));
}

}  // namespace

TEST_CASE("the init is small, and a short program is quick", "[measure]") {
    const auto binary = sys::statat(-100, SANDBOX_INIT);
    REQUIRE(binary);
    Sandbox sandbox;
    Client& client = sandbox.client();
    const std::string idle = *sys::read_file("/proc/" + std::to_string(sandbox.init_pid()) + "/status");

    std::vector<double> milliseconds;
    for (std::uint64_t exec = 1; exec <= 200; ++exec) {
        Command command;
        command.exec = exec;
        command.argv = {"/bin/true"};
        const auto before = std::chrono::steady_clock::now();
        (void)start(client, command);
        (void)client.exited(exec);
        milliseconds.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - before).count());
        forget(client, exec);
    }
    std::sort(milliseconds.begin(), milliseconds.end());
    const std::string busy = *sys::read_file("/proc/" + std::to_string(sandbox.init_pid()) + "/status");
    std::printf("binary %ld bytes; resident when idle %ld KiB (%ld own), after 200 execs %ld KiB (%ld own); create %.1f ms; /bin/true p50 %.2f ms, p99 %.2f ms\n",
                static_cast<long>(binary->st_size), kibibytes(idle, "VmRSS"), kibibytes(idle, "RssAnon"), kibibytes(busy, "VmRSS"),
                kibibytes(busy, "RssAnon"), sandbox.ready_milliseconds(), milliseconds[100], milliseconds[198]);
    CHECK(binary->st_size <= 1 << 20);
    CHECK(kibibytes(idle, "VmRSS") <= 614);  // 0.6 MiB
}

}  // namespace sandboxd::init_test
