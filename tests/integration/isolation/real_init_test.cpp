// The daemon's side and sandbox-init together, with the shipped profile.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <iostream>

#include "machine.hpp"

namespace sandboxd::isolation::test {

namespace {

const SeccompFilters& shipped_filters() {
    static const SeccompFilters filters =
        get(compile_seccomp(get(sys::read_file(SANDBOXD_SECCOMP_PROFILE))));
    return filters;
}

struct RealInit {
    Machine machine;
    Fd init = get(sys::open(SANDBOXD_INIT, O_PATH));

    RealInit() {
        for (const char* name : {"/proc", "/sys", "/dev", "/tmp"}) {
            REQUIRE(sys::ensure_dir(machine.folder() + "/lower" + name, 0755));
        }
    }
    [[nodiscard]] JailSpec spec(SandboxCgroup& cgroup) {
        JailSpec spec = machine.spec(cgroup, "sandbox");
        spec.init_binary = init.get();
        spec.seccomp = &shipped_filters();
        return spec;
    }
};

Deadline patience() {
    return Deadline::after(std::chrono::seconds{10});
}

std::string line_of(pid_t pid, const std::string& key) {
    const std::string text = get(sys::read_file("/proc/" + std::to_string(pid) + "/status"));
    const auto at = text.find("\n" + key + ":");
    REQUIRE(at != std::string::npos);
    return text.substr(at + key.size() + 3, text.find('\n', at + 1) - at - key.size() - 3);
}

}  // namespace

TEST_CASE("sandbox-init takes the plan, confines itself and gives up its privileges") {
    RealInit real;
    const auto cgroup = real.machine.group("a");
    Jail jail = get(run(Jail::launch(real.spec(*cgroup), patience())));
    const pid_t pid = jail.init().pid;
    CHECK(line_of(pid, "NoNewPrivs") == "1");
    CHECK(line_of(pid, "Uid").find(std::to_string(Machine::kBase + kInitId)) == 0);
    const std::string mounts = get(sys::read_file("/proc/" + std::to_string(pid) + "/mountinfo"));
    CHECK(mounts.find(real.machine.folder()) == std::string::npos);
    CHECK(mounts.find("overlay") != std::string::npos);
    end(jail, *cgroup);
}

TEST_CASE("a root without the folders that the init needs is a failure that names its stage") {
    RealInit real;
    REQUIRE(::rmdir((real.machine.folder() + "/lower/proc").c_str()) == 0);
    const auto cgroup = real.machine.group("a");
    const auto jail = run(Jail::launch(real.spec(*cgroup), patience()));
    REQUIRE_FALSE(jail);
    CHECK(jail.error().message().find("stage proc") != std::string::npos);
    CHECK(children_of_this_process().empty());
    REQUIRE(cgroup->remove());
}

TEST_CASE("how long a whole launch takes", "[measure]") {
    RealInit real;
    std::vector<double> times;
    for (int i = 0; i < 50; ++i) {
        // A workdir is good for one mount of a volatile overlay, so each sandbox has its own upper.
        const std::string upper = real.machine.folder() + "/upper-" + std::to_string(i);
        for (const char* name : {"", "/u", "/w"}) REQUIRE(sys::ensure_dir(upper + name, 0755));
        const auto began = std::chrono::steady_clock::now();
        const auto cgroup = real.machine.group("t" + std::to_string(i));
        JailSpec spec = real.spec(*cgroup);
        spec.mounts.sources[0].path = upper;
        Jail jail = get(run(Jail::launch(spec, patience())));
        times.push_back(
            std::chrono::duration<double, std::milli>{std::chrono::steady_clock::now() - began}
                .count());
        end(jail, *cgroup);
    }
    std::sort(times.begin(), times.end());
    std::cout << "control groups and launch (sandbox-init): median " << times[25] << " ms, p90 "
              << times[45] << " ms\n";
    CHECK(times[25] < 1000);  // not a benchmark: a bound against hanging, on a busy machine too
}

}  // namespace sandboxd::isolation::test
