// Before anything else: what these tests need, or 77 (ctest: skipped) with the reason. Then a mount
// namespace of our own, so that no mount can outlive the process.
#define CATCH_CONFIG_RUNNER
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <iostream>

#include "isolation/cgroup_tree.hpp"
#include "sandboxd/core/sys.hpp"

namespace {

int skip(const char* why) {
    std::cout << "skipped: " << why << std::endl;
    return 77;
}

}  // namespace

int main(int argc, char** argv) {
    using namespace sandboxd;
    if (::geteuid() != 0) return skip("needs root");
    const auto tree = isolation::read_cgroup_tree();
    if (!tree || !tree->unified) return skip("needs a mounted cgroup2");
    if (::unshare(CLONE_NEWNS) != 0) return skip("needs CAP_SYS_ADMIN: no mount namespace");
    if (!sys::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE)) {
        return skip("needs a private root mount");
    }
    Catch::Session session;
    if (const int code = session.applyCommandLine(argc, argv); code != 0) return code;
    // Each driver has cases of its own. They are left out by name here and not by an early return,
    // which would count as passed; the other kind runs in the guest of tests/vm.
    const bool v2 = tree->find("memory") == nullptr;
    session.configData().testsOrTags.emplace_back(v2 ? "~[hybrid]" : "~[v2]");
    return session.run();
}
