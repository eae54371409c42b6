// What a path or a working directory given to the init can reach, and what its processes can do to the init.
#include <errno.h>

#include <catch2/catch.hpp>

#include "tests/integration/init/sandbox.hpp"

namespace sandboxd::init_test {
namespace {

// The init holds descriptors of the host: its control groups. Through one of them ".." leads out of the jail.
std::string host_path_through(int fd) { return "/proc/self/fd/" + std::to_string(fd) + "/../../../../../../../../../../.."; }

constexpr int kHighestDescriptor = 64;

agent::FileOpen opening(const std::string& path, std::uint32_t uid = 1000) {
    agent::FileOpen open;
    open.uid = open.gid = uid;
    open.path = path;
    return open;
}

}  // namespace

TEST_CASE("no descriptor of the init leads a working directory out of the jail") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    for (int fd = 3; fd < kHighestDescriptor; ++fd) {
        Command command;
        command.exec = static_cast<std::uint64_t>(fd);
        command.cwd = host_path_through(fd);
        command.argv = {"/usr/bin/ls"};
        send_exec(client, command);
        INFO("working directory " << command.cwd);
        const auto failure = client.expect_error();
        CHECK(failure.step == agent::Step::cwd);
    }
}

TEST_CASE("no descriptor of the init leads a file request out of the jail") {
    Sandbox sandbox;
    Client& client = sandbox.client();
    for (int fd = 0; fd < kHighestDescriptor; ++fd) {
        const std::string base = host_path_through(fd);
        const std::string path = base + "/etc/hostname";
        INFO("path " << path);
        client.send(agent::Type::file_open, opening(path));
        client.expect_error();
        agent::FileList list;
        list.uid = list.gid = 1000;
        list.path = base;
        client.send(agent::Type::file_list, list);
        client.expect_error();
        agent::FileRef ref;
        ref.uid = ref.gid = 1000;
        ref.recursive = true;
        ref.path = base;
        client.send(agent::Type::file_stat, ref);
        client.expect_error();
    }
}

TEST_CASE("what tells of the host or acts on it is masked, also for the jail's root") {
    Sandbox sandbox;
    for (const std::uint32_t uid : {1000U, 0U}) {
        INFO("uid " << uid);
        const Ran ran = shell(sandbox.client(),
                              "cd /proc; for f in cmdline config.gz diskstats interrupts iomem kallsyms kcore keys kmsg modules partitions sched_debug vmstat zoneinfo"
                              " acpi driver scsi pressure dynamic_debug; do [ ! -e $f ] || [ -z \"$(cat $f 2>/dev/null; ls $f/ 2>/dev/null)\" ] || echo shown /proc/$f; done\n"
                              "cd /sys; for d in firmware kernel fs power module block class bus devices/virtual/dmi devices/virtual/powercap; do"
                              " [ -z \"$(ls $d/ 2>/dev/null)\" ] || echo shown /sys/$d; done\n"
                              "for f in /proc/sys/kernel/hostname /proc/sys/net/ipv4/ip_forward /proc/sys/user/max_user_namespaces /dev/x /sys/x;"
                              " do (echo 1 > $f) 2>/dev/null && echo written $f; done\n"
                              "grep -E ' / |/tmp|lowerdir' /proc/self/mountinfo | grep -oE 'lowerdir=[^,]*,upperdir=[^,]*,workdir=[^,]*'; ls /dev",
                              uid);
        CHECK(ran.out == "lowerdir=l0,upperdir=u/u,workdir=u/w\nfd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n");
    }
}

TEST_CASE("no namespace can be made and no mount changed, also by the jail's root") {
    Sandbox sandbox;
    for (const std::uint32_t uid : {1000U, 0U}) {
        INFO("uid " << uid);
        const Ran ran = shell(sandbox.client(),
                              "for n in U m u i n p C; do unshare -$n true 2>/dev/null && echo made $n; done\n"
                              "mount -t tmpfs none /mnt 2>/dev/null && echo mounted; umount /proc 2>/dev/null && echo unmounted; hostname x 2>/dev/null && echo named\n"
                              "ip link add d0 type dummy 2>/dev/null && echo linked; mknod /tmp/null c 1 3 2>/dev/null && echo node\n"
                              "grep -E '^(NoNewPrivs|Seccomp|Seccomp_filters|CapPrm|CapEff|CapBnd|CapAmb):' /proc/self/status | tr -d '\\n\\t'",
                              uid);
        const std::string capabilities = uid == 0 ? "00000000000004fb" : "0000000000000000";
        CHECK(ran.out == "CapPrm:" + capabilities + "CapEff:" + capabilities + "CapBnd:" + capabilities + "CapAmb:0000000000000000NoNewPrivs:1Seccomp:2Seccomp_filters:2");
    }
}

}  // namespace sandboxd::init_test
