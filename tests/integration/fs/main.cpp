#define CATCH_CONFIG_RUNNER
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>

#include "fs/command.hpp"
#include "sandboxd/core/sys.hpp"

namespace {

int skip(const char* reason) {
    std::printf("skipped: %s\n", reason);
    return 77;
}

}  // namespace

int main(int argc, char** argv) {
    using namespace sandboxd;
    if (::geteuid() != 0) return skip("needs root");
    if (!fs::find_program("mkfs.btrfs", "/usr/sbin:/usr/bin:/sbin:/bin")) {
        return skip("needs the package btrfs-progs");
    }
    if (!sys::exists("/dev/loop-control")) return skip("needs loop devices");
    // Mounts of the tests vanish with this process, however it ends; loop devices go with them.
    if (::unshare(CLONE_NEWNS) != 0) return skip("needs CAP_SYS_ADMIN");
    if (!sys::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE))
        return skip("can't make mounts private");
    return Catch::Session().run(argc, argv);
}
