// What programs in a sandbox count and measure is the sandbox, not the host.
#include <sched.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <sstream>

#include "sandboxd/core/sys.hpp"
#include "tests/integration/init/sandbox.hpp"

namespace sandboxd::init_test {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

// Every way in which programs of the base system count CPUs, one figure a line.
constexpr const char* kCountCpus =
    "nproc; getconf _NPROCESSORS_ONLN; getconf _NPROCESSORS_CONF; grep -c ^processor /proc/cpuinfo; grep -c '^cpu[0-9]' /proc/stat;"
    " ls -d /sys/devices/system/cpu/cpu[0-9]* | wc -l; python3 -c 'import os; print(os.cpu_count()); print(len(os.sched_getaffinity(0)))'";

std::string lines(const std::string& value, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) out += value + "\n";
    return out;
}

std::string value_of(const std::string& text, const std::string& key) {
    std::istringstream words{text.substr(text.find(key) + key.size() + 1)};
    std::string out;
    words >> out;
    return out;
}

int cpus_of(int pid) {
    cpu_set_t set;
    CPU_ZERO(&set);
    REQUIRE(::sched_getaffinity(pid, sizeof set, &set) == 0);
    return CPU_COUNT(&set);
}

}  // namespace

TEST_CASE("programs count as many CPUs as the quota is worth, rounded up") {
    const long host = ::sysconf(_SC_NPROCESSORS_ONLN);
    for (const auto& [quota, cpus] : {std::pair{500U, 1}, std::pair{1000U, 1}, std::pair{1001U, 2}}) {
        if (cpus > host) {
            WARN("this machine has one CPU: that a second one is shown could not be tried");
            continue;
        }
        Options options;
        options.cpu_milli = quota;
        Sandbox sandbox{options};
        const Ran ran = shell(sandbox.client(), kCountCpus);
        INFO(quota << " thousandths of a CPU\n" << ran.err);
        CHECK(ran.out == lines(std::to_string(cpus), 8));
    }
}

TEST_CASE("Node counts the same CPUs and sees the limit as its memory") {
    if (::access("/usr/bin/node", X_OK) != 0) {
        WARN("no node on this machine");
        return;
    }
    Sandbox sandbox;
    const Ran ran = shell(sandbox.client(),
                          "node -e 'const os = require(\"os\"); console.log(os.cpus().length, os.totalmem(), os.freemem() <= os.totalmem(), os.uptime() < 600)'");
    INFO(ran.err);
    CHECK(ran.out == "1 " + std::to_string(512 * kMiB) + " true true\n");
}

TEST_CASE("the memory of the machine is the limit, and what is free of it follows what is used") {
    Options options;
    options.memory_bytes = 300 * kMiB;
    Sandbox sandbox{options};
    Client& client = sandbox.client();
    const Ran ran = shell(client, "cat /proc/meminfo; free -k | sed -n 2p; cat /proc/swaps");
    CHECK(value_of(ran.out, "MemTotal:") == std::to_string(300 * 1024));
    CHECK(value_of(ran.out, "SwapTotal:") == "0");
    CHECK(value_of(ran.out, "Mem:") == std::to_string(300 * 1024));
    CHECK(ran.out.find("Filename") != std::string::npos);
    const long before = std::stol(value_of(ran.out, "MemAvailable:"));
    CHECK(before > 150 * 1024);
    CHECK(before <= 300 * 1024);

    Command hog;
    hog.argv = {"python3", "-c", "x = bytearray(100 << 20); x[::4096] = b'1' * len(x[::4096]); print('held', flush=True); input()"};
    hog.flags = agent::kStdin;
    const Answer started = start(client, hog);
    CHECK(read_until(started.fds.at(0).get(), "held") == "held\n");
    CHECK(eventually([&] { return std::stol(value_of(shell(client, "grep MemAvailable /proc/meminfo").out, "MemAvailable:")) < before - 90 * 1024; }));
}

TEST_CASE("new limits show in a running program's world, and its threads get the new CPUs") {
    if (::sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        WARN("needs two CPUs");
        return;
    }
    Sandbox sandbox;
    Client& client = sandbox.client();
    Command command;
    command.argv = {"sh", "-c", "sleep 60 & exec sleep 60"};
    (void)start(client, command);
    REQUIRE(eventually([&] { return sandbox.processes(command.exec).size() == 2; }));
    for (const int pid : sandbox.processes(command.exec)) CHECK(cpus_of(pid) == 1);
    sandbox.set_limits(2000, 600 * kMiB);
    CHECK(eventually([&] {
        for (const int pid : sandbox.processes(command.exec)) {
            if (cpus_of(pid) != 2) return false;
        }
        return true;
    }));
    CHECK(shell(client, kCountCpus).out == lines("2", 8));
    CHECK(value_of(shell(client, "cat /proc/meminfo").out, "MemTotal:") == std::to_string(600 * 1024));
    sandbox.set_limits(1000, 600 * kMiB);
    CHECK(eventually([&] { return shell(client, kCountCpus).out == lines("1", 8); }));
}

TEST_CASE("the time since boot is the sandbox's own, and nothing names the host's boot") {
    Sandbox sandbox;
    const Ran ran = shell(sandbox.client(),
                          "cut -d. -f1 /proc/uptime; python3 -c 'import time; print(int(time.monotonic())); print(int(time.clock_gettime(time.CLOCK_BOOTTIME)))';"
                          " echo $(( $(date +%s) - $(sed -n 's/^btime //p' /proc/stat) )); cat /proc/sys/kernel/random/boot_id");
    std::istringstream words{ran.out};
    for (int i = 0; i < 4; ++i) {
        long seconds = -1;
        words >> seconds;
        INFO("figure " << i);
        CHECK(seconds >= 0);
        CHECK(seconds < 120);
    }
    std::string id;
    words >> id;
    CHECK(id.size() == 36);
    CHECK(id + "\n" != *sys::read_file("/proc/sys/kernel/random/boot_id"));
    // The control: the host has been up for longer than any of these, or the test says nothing.
    if (std::stod(*sys::read_file("/proc/uptime")) < 240) WARN("this machine has just booted");
}

TEST_CASE("load and processor times are those of the sandbox") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    const Ran before = shell(client, "cat /proc/loadavg; sed -n 1p /proc/stat");
    CHECK(before.out.substr(0, 15) == "0.00 0.00 0.00 ");
    Command busy;
    busy.argv = {"sh", "-c", "while :; do :; done"};
    (void)start(client, busy);
    CHECK(eventually([&] { return std::stod(shell(client, "cat /proc/loadavg").out) > 0.02; }));
    std::istringstream words{shell(client, "sed -n 1p /proc/stat").out};
    std::string name;
    long user = 0;
    words >> name >> user;
    CHECK(user > 50);
}

}  // namespace sandboxd::init_test
