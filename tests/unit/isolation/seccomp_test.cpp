#include "isolation/seccomp.hpp"

#include <linux/sched.h>
#include <sys/syscall.h>

#include <seccomp.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <set>
#include <sstream>

#include "isolation/refusal_rules.hpp"
#include "policies/seccomp_profile.hpp"
#include "sandboxd/core/sys.hpp"
#include "seccomp_evaluator.hpp"
#include "tests/unit/isolation/result_printer.hpp"

// The numbers below are x86-64's, the one architecture whose filter is shipped.
static_assert(SYS_openat == 257);

namespace sandboxd::isolation::test {

namespace {

constexpr std::uint32_t kHighest = 600;

std::string profile_text(const std::string& name) {
    return get(sys::read_file(std::string{SANDBOXD_PROFILES} + "/" + name + ".json"));
}

const SeccompFilters& shipped() {
    static const SeccompFilters filters = get(compile_seccomp(profile_text("default")));
    return filters;
}

// What the program sees, and whether the init is told: "NOTED 1" is EPERM from the init. The filter that asks the init
// has to be the one that has the listener.
std::string told(const SeccompFilters& filters, std::uint32_t number,
                 std::array<std::uint64_t, 6> args = {}) {
    const Call call{number, args};
    const std::string action = action_text(evaluate(filters.names, filters.arguments, call));
    if (action != "USER_NOTIF") return action;
    if (action_text(evaluate(filters.arguments, call)) != action) return "nobody listens";
    RefusalRule rule;
    if (!find_refusal(filters.refusals, number, args.data(), rule)) return "no rule";
    return "NOTED " + std::to_string(rule.error);
}

// What the program sees.
std::string answer(const SeccompFilters& filters, std::uint32_t number,
                   std::array<std::uint64_t, 6> args = {}) {
    std::string text = told(filters, number, args);
    if (text.starts_with("NOTED")) text.replace(0, 5, "ERRNO");
    return text;
}

int number_of(const std::string& syscall) {
    return ::seccomp_syscall_resolve_name(syscall.c_str());
}

std::string refused(int error) {
    return "ERRNO " + std::to_string(error);
}

std::string table(const SeccompFilters& filters) {
    std::ostringstream out;
    for (std::uint32_t number = 0; number <= kHighest; ++number)
        out << number << ' ' << told(filters, number) << '\n';
    return out.str();
}

// With SANDBOXD_UPDATE_GOLDEN set the file is written anew: a change of the profile shows as a diff
// to be reviewed.
void check_golden(const std::string& name) {
    const SeccompFilters filters = get(compile_seccomp(profile_text(name)));
    const std::string path = std::string{SANDBOXD_GOLDEN} + "/seccomp_" + name + ".txt";
    if (std::getenv("SANDBOXD_UPDATE_GOLDEN") != nullptr) {
        REQUIRE(sys::write_file_atomic(path, table(filters), 0644));
    }
    std::istringstream expected{get(sys::read_file(path))};
    std::istringstream found{table(filters)};
    std::string want, got;
    while (std::getline(found, got)) {
        REQUIRE(std::getline(expected, want));
        CHECK(got == want);
    }
    CHECK_FALSE(std::getline(expected, want));
}

std::size_t allowed(const SeccompFilters& filters) {
    std::size_t count = 0;
    for (std::uint32_t number = 0; number <= kHighest; ++number)
        count += answer(filters, number) == "ALLOW" ? 1 : 0;
    return count;
}

// A profile that is right, with one text replaced.
std::string altered(const std::string& from, const std::string& to) {
    std::string text =
        R"({"name":"t","version":1,"default_errno":"ENOSYS","allow":["read","ioctl","personality","seccomp","sendmsg","close","write","execve","exit_group"],
        "errno":{"EPERM":["mount"],"OK":["sync"]},
        "arguments":[{"syscall":"ioctl","arg":1,"mask":4294967295,"op":"eq","value":21522,"errno":"EPERM","why":"x"},
        {"syscall":"personality","all":[{"arg":0,"mask":16,"op":"eq","value":16},{"arg":0,"mask":4294967295,"op":"ne","value":255}],"errno":"EPERM","why":"y"}]})";
    if (!from.empty()) {
        const auto at = text.find(from);
        REQUIRE(at != std::string::npos);
        text.replace(at, from.size(), to);
    }
    return text;
}

}  // namespace

TEST_CASE("every system call from 0 to 600 is answered as the golden file of its profile says") {
    check_golden("default");
    check_golden("strict");
    check_golden("debug");
}

TEST_CASE(
    "the default profile allows at most 270 calls, the strict one at most 150") {
    const SeccompFilters strict = get(compile_seccomp(profile_text("strict")));
    CHECK(allowed(shipped()) <= 270);
    CHECK(allowed(shipped()) >= 200);
    CHECK(allowed(strict) <= 150);
    CHECK(allowed(strict) >= 80);
}

TEST_CASE("what a sandbox must never do is refused in the form that programs expect") {
    for (const long number :
         {SYS_mount, SYS_unshare, SYS_setns, SYS_ptrace, SYS_bpf, SYS_perf_event_open, SYS_keyctl,
          SYS_add_key, SYS_open_by_handle_at, SYS_pivot_root, SYS_init_module, SYS_kexec_load,
          SYS_pidfd_getfd, SYS_process_vm_writev, SYS_name_to_handle_at}) {
        INFO(number);
        CHECK(answer(shipped(), static_cast<std::uint32_t>(number)) == refused(EPERM));
    }
    for (const int number :
         {SYS_clone3, SYS_io_uring_setup, SYS_userfaultfd, SYS_vmsplice, SYS_memfd_secret, 599}) {
        INFO(number);
        CHECK(answer(shipped(), static_cast<std::uint32_t>(number)) == refused(ENOSYS));
    }
    CHECK(answer(shipped(), SYS_splice) == refused(EINVAL));
    CHECK(answer(shipped(), SYS_sync) == refused(0));  // pretends
    for (const long number :
         {SYS_read, SYS_execve, SYS_openat2, SYS_rseq, SYS_landlock_restrict_self}) {
        CHECK(answer(shipped(), static_cast<std::uint32_t>(number)) == "ALLOW");
    }
}

TEST_CASE("another architecture and x32 end the process, in both filters") {
    for (const std::string* program : {&shipped().names, &shipped().arguments}) {
        const std::uint32_t i386 = 0x40000003, aarch64 = 0xc00000b7;
        CHECK(action_text(evaluate(*program, Call{4, {}, i386})) == "KILL_PROCESS");
        CHECK(action_text(evaluate(*program, Call{63, {}, aarch64})) == "KILL_PROCESS");
        CHECK(action_text(evaluate(*program, Call{0x40000000 + SYS_getpid, {}})) == "KILL_PROCESS");
    }
}

TEST_CASE("arguments are compared as the kernel sees them: 32 bits, whatever stands above") {
    for (const std::uint64_t high : {0ULL, 0x1'0000'0000ULL, 0xffff'ffff'0000'0000ULL}) {
        INFO(high);
        CHECK(answer(shipped(), SYS_ioctl, {0, high | 0x5412}) ==
              refused(EPERM));  // TIOCSTI, CVE-2019-10063
        CHECK(answer(shipped(), SYS_ioctl, {0, high | 0x541c}) == refused(EPERM));  // TIOCLINUX
        CHECK(answer(shipped(), SYS_ioctl, {0, high | 0x40049409}) ==
              refused(EOPNOTSUPP));                                          // FICLONE
        for (const std::uint64_t flags : {0x40086602ULL, 0x40046602ULL, 0x401c5820ULL}) {  // chattr's
            CHECK(answer(shipped(), SYS_ioctl, {0, high | flags}) == refused(EOPNOTSUPP));
        }
        CHECK(answer(shipped(), SYS_ioctl, {0, high | 0x80086601}) == "ALLOW");  // FS_IOC_GETFLAGS
        CHECK(answer(shipped(), SYS_ioctl, {0, high | 0x5413}) == "ALLOW");      // TIOCGWINSZ
        CHECK(answer(shipped(), SYS_socket, {high | 38, 5, 0}) == refused(EAFNOSUPPORT));
        CHECK(answer(shipped(), SYS_socket, {2, high | 3, 0}) == refused(EPERM));
        CHECK(answer(shipped(), SYS_clone, {high | CLONE_NEWUSER}) == refused(EPERM));
    }
}

TEST_CASE("sockets: local, TCP, UDP and route netlink, nothing else") {
    const auto socket = [](std::uint64_t family, std::uint64_t type, std::uint64_t protocol) {
        return answer(shipped(), SYS_socket, {family, type, protocol});
    };
    constexpr std::uint64_t kFlags = 02000000 | 04000;  // CLOEXEC, NONBLOCK
    for (const std::uint64_t flags : {std::uint64_t{0}, kFlags}) {
        for (const std::uint64_t family : {2, 10}) {
            CHECK(socket(family, 1 | flags, 0) == "ALLOW");
            CHECK(socket(family, 1 | flags, 6) == "ALLOW");
            CHECK(socket(family, 2 | flags, 17) == "ALLOW");
            CHECK(socket(family, 3 | flags, 0) == refused(EPERM));
            CHECK(socket(family, 5 | flags, 0) == refused(EPROTONOSUPPORT));  // SCTP by its type
            CHECK(socket(family, 1 | flags, 132) == refused(EPROTONOSUPPORT));
            for (std::uint64_t protocol = 1; protocol < 300; ++protocol) {
                if (protocol != 6 && protocol != 17)
                    CHECK(socket(family, 2 | flags, protocol) != "ALLOW");
            }
        }
        for (const std::uint64_t type : {1, 2, 5}) CHECK(socket(1, type | flags, 0) == "ALLOW");
        CHECK(socket(16, 3 | flags, 0) == "ALLOW");
        CHECK(socket(16, 2 | flags, 0) == "ALLOW");
        for (std::uint64_t protocol = 1; protocol < 40; ++protocol)
            CHECK(socket(16, 3, protocol) == refused(EPROTONOSUPPORT));
    }
    for (std::uint64_t family = 0; family < 64; ++family) {
        if (family == 1 || family == 2 || family == 10 || family == 16) continue;
        INFO(family);
        CHECK(socket(family, 1, 0) == refused(EAFNOSUPPORT));
        CHECK(socket(family, 3, 0) != "ALLOW");
    }
    CHECK(answer(shipped(), SYS_socketpair, {1, 1, 0}) == "ALLOW");
    CHECK(answer(shipped(), SYS_socketpair, {2, 1, 0}) == refused(EAFNOSUPPORT));
    CHECK(answer(shipped(), SYS_socketpair, {0, 1, 0}) == refused(EAFNOSUPPORT));
}

TEST_CASE("allowed calls are refused with the arguments that attack the kernel") {
    struct Case {
        long number;
        std::array<std::uint64_t, 6> args;
        std::string expected;
    };
    const std::vector<Case> cases{
        {SYS_clone, {0x11}, "ALLOW"},
        {SYS_clone, {0x003d0f00}, "ALLOW"},  // a thread
        {SYS_clone, {CLONE_NEWNS}, refused(EPERM)},
        {SYS_clone, {CLONE_NEWNET}, refused(EPERM)},
        {SYS_clone, {CLONE_NEWCGROUP}, refused(EPERM)},
        {SYS_setsockopt, {0, 6, 31}, refused(ENOPROTOOPT)},  // TCP_ULP
        {SYS_setsockopt, {0, 6, 1}, "ALLOW"},                // TCP_NODELAY
        {SYS_setsockopt, {0, 1, 26}, refused(ENOPROTOOPT)},  // SO_ATTACH_FILTER
        {SYS_setsockopt, {0, 1, 50}, refused(ENOPROTOOPT)},
        {SYS_setsockopt, {0, 1, 60}, refused(ENOPROTOOPT)},  // SO_ZEROCOPY
        {SYS_setsockopt, {0, 17, 100}, refused(ENOPROTOOPT)},
        {SYS_setsockopt, {0, 0, 35}, refused(ENOPROTOOPT)},  // IP_ADD_MEMBERSHIP
        {SYS_setsockopt, {0, 41, 20}, refused(ENOPROTOOPT)},
        {SYS_setsockopt, {0, 1, 2}, "ALLOW"},  // SO_REUSEADDR
        {SYS_fcntl, {0, 1024}, refused(EINVAL)},  // F_SETLEASE
        {SYS_fcntl, {0, 1026}, refused(EINVAL)},  // F_NOTIFY
        {SYS_fcntl, {0, 1025}, "ALLOW"},          // F_GETLEASE
        {SYS_fcntl, {0, 1030}, "ALLOW"},          // F_DUPFD_CLOEXEC
        {SYS_prctl, {62}, refused(EPERM)},
        {SYS_prctl, {35}, refused(EPERM)},
        {SYS_prctl, {15}, "ALLOW"},  // PR_SET_NAME
        {SYS_seccomp, {1, 8}, refused(EPERM)},
        {SYS_seccomp, {1, 9}, refused(EPERM)},
        {SYS_seccomp, {1, 0}, "ALLOW"},
        {SYS_mknod, {0, 0020644}, refused(EPERM)},
        {SYS_mknodat, {0, 0, 0060644}, refused(EPERM)},
        {SYS_mknodat, {0, 0, 0010644}, "ALLOW"},  // a FIFO
        {SYS_renameat2, {0, 0, 0, 0, 4}, refused(EPERM)},
        {SYS_renameat2, {0, 0, 0, 0, 1}, "ALLOW"},
        {SYS_sendto, {0, 0, 0, 1}, refused(EOPNOTSUPP)},
        {SYS_sendto, {0, 0, 0, 0x4000}, "ALLOW"},  // MSG_NOSIGNAL
        {SYS_sendmsg, {0, 0, 0x4000001}, refused(EOPNOTSUPP)},
        {SYS_sendmmsg, {0, 0, 0, 0x4000000}, refused(EOPNOTSUPP)},
        {SYS_futex, {0, 0}, "ALLOW"},
        {SYS_futex, {0, 129}, "ALLOW"},              // WAKE, private
        {SYS_futex, {0, 6 | 128}, refused(ENOSYS)},  // LOCK_PI, private
        {SYS_futex, {0, 11 | 128 | 256}, refused(ENOSYS)},
        {SYS_futex, {0, 13}, refused(ENOSYS)},
        {SYS_personality, {0xffffffff}, "ALLOW"},  // asks
        {SYS_personality, {0x40000}, "ALLOW"},     // ADDR_NO_RANDOMIZE
        {SYS_personality, {0x400000}, refused(EPERM)},
        {SYS_personality, {0x400000 | 0x40000}, refused(EPERM)},
        {SYS_personality, {0x100000}, refused(EPERM)},
        {SYS_personality, {0x200000}, refused(EPERM)},
    };
    for (const Case& c : cases) {
        INFO(c.number << " with " << c.args[0] << ", " << c.args[1] << ", " << c.args[2] << ", "
                      << c.args[3]);
        CHECK(answer(shipped(), static_cast<std::uint32_t>(c.number), c.args) == c.expected);
        // And with rubbish above the 32 bits of every argument.
        std::array<std::uint64_t, 6> rubbish = c.args;
        for (std::uint64_t& arg : rubbish) arg |= 0xdead'beef'0000'0000ULL;
        CHECK(answer(shipped(), static_cast<std::uint32_t>(c.number), rubbish) == c.expected);
    }
}

TEST_CASE("ne and gt mean what they say at every border") {
    const auto profile = [](const std::string& op, std::uint32_t value) {
        return R"({"name":"t","version":1,"default_errno":"ENOSYS","allow":["read","seccomp","sendmsg","close","write","execve","exit_group"],"arguments":[{"syscall":"read","arg":0,)"
               R"("mask":4294967295,"op":")" +
               op + R"(","value":)" + std::to_string(value) + R"(,"errno":"EPERM","why":"x"}]})";
    };
    for (const std::uint32_t bound : {0U, 1U, 16U, 17U, 0x7fffffffU, 0x80000000U, 0xfffffffeU}) {
        const SeccompFilters ne = get(compile_seccomp(profile("ne", bound)));
        const SeccompFilters gt = get(compile_seccomp(profile("gt", bound)));
        for (const std::uint32_t value :
             {0U, 1U, 2U, 15U, 16U, 17U, 18U, 31U, 0x7ffffffeU, 0x7fffffffU, 0x80000000U,
              0x80000001U, 0xfffffffeU, 0xffffffffU}) {
            INFO(bound << " and " << value);
            CHECK((answer(ne, SYS_read, {value}) == "ALLOW") == (value == bound));
            CHECK((answer(gt, SYS_read, {value}) == "ALLOW") == (value <= bound));
        }
    }
}

TEST_CASE("a profile with anything unknown, missing, doubled or of the wrong type is refused") {
    REQUIRE(compile_seccomp(altered("", "")));
    struct Wrong {
        const char* from;
        const char* to;
    };
    for (const Wrong& wrong : std::vector<Wrong>{
             {"{\"name\"", "[\"name\""},
             {"\"name\":\"t\"", "\"name\":1"},
             {"\"version\":1", "\"version\":2"},
             {"\"version\":1,", ""},
             {"\"version\":1", "\"version\":\"1\""},
             {"\"version\":1", "\"version\":1,\"extra\":1"},
             {"\"default_errno\":\"ENOSYS\",", ""},
             {"\"default_errno\":\"ENOSYS\"", "\"default_errno\":38"},
             {"\"default_errno\":\"ENOSYS\"", "\"default_errno\":\"OK\""},
             {"\"default_errno\":\"ENOSYS\"", "\"default_errno\":\"EWHATEVER\""},
             {"\"allow\":[\"read\",", "\"allow\":[\"read\",\"read\","},
             {"\"allow\":[\"read\",", "\"allow\":[\"read\",7,"},
             {"\"allow\":[\"read\",", "\"allow\":[\"read\",\"reed\","},
             {"\"EPERM\":[\"mount\"]", "\"EPERM\":[\"read\"]"},
             {"\"EPERM\":[\"mount\"]", "\"EPERM\":[\"mountt\"]"},
             {"\"EPERM\":[\"mount\"]", "\"EPERM\":\"mount\""},
             {"\"errno\":{", "\"silent\":[\"read\"],\"errno\":{"},
             {"\"errno\":{", "\"silent\":[\"sync\"],\"errno\":{"},  // it is anyway
             {"\"errno\":{", "\"silent\":[\"mount\",\"mount\"],\"errno\":{"},
             {"\"errno\":{", "\"silent\":\"mount\",\"errno\":{"},
             {"\"errno\":{", "\"reasons\":{\"mount\":\"x\"},\"errno\":{"},
             {"\"errno\":{", "\"reasons\":{\"read\":\"\"},\"errno\":{"},
             {"\"why\":\"x\"", "\"why\":\"x\",\"silent\":1"},
             {"\"sendmsg\",", ""},  // nothing could be started
             {"\"execve\",", ""},
             {"\"errno\":{\"EPERM\":[\"mount\"],\"OK\":[\"sync\"]}", "\"errno\":[]"},
             {"\"arg\":1", "\"arg\":6"},
             {"\"arg\":1", "\"arg\":-1"},
             {"\"arg\":1,", ""},
             {"\"mask\":4294967295", "\"mask\":4294967296"},
             {"\"mask\":4294967295", "\"mask\":1"},  // the value has bits outside
             {"\"mask\":16", "\"mask\":0"},
             {"\"op\":\"eq\"", "\"op\":\"lt\""},
             {"\"value\":21522", "\"value\":\"21522\""},
             {"\"errno\":\"EPERM\",\"why\":\"x\"", "\"errno\":\"OK\",\"why\":\"x\""},
             {"\"errno\":\"EPERM\",\"why\":\"x\"", "\"errno\":\"EPERM\",\"why\":\"x\",\"also\":1"},
             {"\"errno\":\"EPERM\",\"why\":\"x\"", "\"errno\":\"EPERM\""},
             {"\"all\":[{", "\"arg\":0,\"all\":[{"},
             {"{\"arg\":0,\"mask\":16", "{\"arg\":0,\"why\":\"z\",\"mask\":16"},
             {"\"value\":255", "\"value\":255},{\"arg\":1,\"mask\":1,\"op\":\"eq\",\"value\":1"},
         }) {
        INFO(wrong.from << " -> " << wrong.to);
        const auto refusal = compile_seccomp(altered(wrong.from, wrong.to));
        REQUIRE_FALSE(refusal);
        CHECK(refusal.error().is(Errc::invalid_argument));
    }
    CHECK_FALSE(compile_seccomp(""));
    CHECK_FALSE(compile_seccomp("null"));
}

TEST_CASE("a wider profile allows all that the narrower ones do; debug adds what debuggers need and no more") {
    const SeccompFilters strict = get(compile_seccomp(profile_text("strict")));
    const SeccompFilters debug = get(compile_seccomp(profile_text("debug")));
    std::set<std::uint32_t> added;
    for (std::uint32_t number = 0; number <= kHighest; ++number) {
        INFO(number);
        if (answer(strict, number) == "ALLOW") CHECK(answer(shipped(), number) == "ALLOW");
        if (answer(shipped(), number) == "ALLOW") {
            CHECK(answer(debug, number) == "ALLOW");
        } else if (answer(debug, number) == "ALLOW") {
            added.insert(number);
        }
    }
    CHECK(added == std::set<std::uint32_t>{SYS_ptrace, SYS_process_vm_readv});
    CHECK(answer(debug, SYS_pidfd_getfd) == refused(EPERM));
    CHECK(get(policies::parse_seccomp_profile(profile_text("debug"))).arguments ==
          get(policies::parse_seccomp_profile(profile_text("default"))).arguments);
}

// After minijail's seccomp_policy_lint: calls that have been ways into the kernel or out of a sandbox.
TEST_CASE("no dangerous call is allowed without a reason in the profile, and no reason is left over") {
    const std::set<std::string> dangerous{
        "acct", "add_key", "bpf", "chroot", "clone", "clone3", "delete_module", "execveat", "fanotify_init", "fanotify_mark", "finit_module",
        "fsconfig", "fsetxattr", "fsmount", "fsopen", "fspick", "futex_requeue", "init_module", "io_setup", "io_submit", "io_uring_enter",
        "io_uring_register", "io_uring_setup", "ioctl", "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "listmount",
        "lookup_dcookie", "lsetxattr", "mbind", "memfd_create", "memfd_secret", "migrate_pages", "mknod", "mknodat", "modify_ldt", "mount",
        "mount_setattr", "move_mount", "move_pages", "mq_open", "msgget", "msgsnd", "name_to_handle_at", "nfsservctl", "open_by_handle_at",
        "open_tree", "perf_event_open", "personality", "pidfd_getfd", "pivot_root", "prctl", "process_madvise", "process_mrelease",
        "process_vm_readv", "process_vm_writev", "ptrace", "quotactl", "quotactl_fd", "reboot", "remap_file_pages", "request_key", "seccomp",
        "semget", "sendfile", "setfsgid", "setfsuid", "setgid", "setgroups", "setns", "setregid", "setresgid", "setresuid", "setreuid",
        "setsockopt", "setuid", "setxattr", "setxattrat", "shmget", "socket", "splice", "swapoff", "swapon", "sysfs", "syslog", "tee",
        "umount2", "unshare", "uselib", "userfaultfd", "ustat", "vmsplice"};
    for (const char* name : {"default", "strict", "debug"}) {
        INFO(name);
        const auto profile = get(policies::parse_seccomp_profile(profile_text(name)));
        for (const std::string& call : profile.allow) {
            INFO(call);
            CHECK(profile.reasons.contains(call) == dangerous.contains(call));
        }
    }
}

TEST_CASE("the init's table says what the filters refuse with a note, and nothing else") {
    for (const char* name : {"default", "strict", "debug"}) {
        const std::string text = profile_text(name);
        const SeccompFilters noted = get(compile_seccomp(text));
        const SeccompFilters silent = get(compile_seccomp(text, Refusals::silent));
        CHECK(silent.refusals.empty());
        // The kernel alone and the kernel with the init answer every call the same, except for the order of rules that
        // match at once: then either answer stands in the file.
        for (const policies::SeccompArgumentRule& rule : get(policies::parse_seccomp_profile(text)).arguments) {
            std::array<std::uint64_t, 6> args{};
            for (const auto& condition : rule.all) {
                if (condition.op == policies::SeccompCondition::Op::eq) args[condition.arg] |= condition.value;
                if (condition.op != policies::SeccompCondition::Op::eq && args[condition.arg] == 0) args[condition.arg] = condition.value + 1ULL;
            }
            const auto number = static_cast<std::uint32_t>(number_of(rule.syscall));
            INFO(name << ": " << rule.syscall << ", " << rule.why);
            const std::string action = told(noted, number, args);
            CHECK(action.starts_with(rule.noted ? "NOTED " : "ERRNO "));
            CHECK(answer(silent, number, args).starts_with("ERRNO "));
        }
        for (std::uint32_t number = 0; number <= kHighest; ++number) {
            INFO(name << ": " << number);
            CHECK(answer(noted, number) == answer(silent, number));
        }
    }
}

TEST_CASE("without its listener a noted call is refused all the same, and no filter of the workload's lets it through") {
    const Call mount{SYS_mount, {}};
    // By either filter alone: an init that could not load the second one would still not have opened anything.
    CHECK(action_text(evaluate(shipped().names, mount)) == "USER_NOTIF");
    CHECK(action_text(evaluate(shipped().arguments, mount)) == "USER_NOTIF");
}

TEST_CASE("the programs fit the kernel's limit and what the launch plan can carry") {
    constexpr std::size_t kInstruction = 8;
    CHECK(shipped().names.size() / kInstruction <= 4096);  // BPF_MAXINSNS
    CHECK(shipped().arguments.size() / kInstruction <= 4096);
    CHECK(shipped().names.size() + shipped().arguments.size() + shipped().refusals.size() < 32 * 1024);
}

}  // namespace sandboxd::isolation::test
