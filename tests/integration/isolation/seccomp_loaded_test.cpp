// The shipped profiles as the kernel runs them: really loaded, in the init's order, and every refused number called.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>
#include <map>
#include <sstream>
#include <vector>

#include "isolation/refusal_rules.hpp"
#include "isolation/seccomp.hpp"
#include "machine.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/sys.hpp"
#include "tests/unit/isolation/result_printer.hpp"

namespace sandboxd::isolation::test {

namespace {

struct Probe {
    std::uint32_t number = 0;
    std::array<std::uint64_t, 6> args{};
    int expected = 0;
    bool noted = false;
};

constexpr std::uint64_t kNonsense = 0xffff'ffff'ffff'ff00ULL;  // no descriptor, no address

SeccompFilters compiled(const std::string& profile, Refusals refusals = Refusals::noted) {
    return get(compile_seccomp(get(sys::read_file(std::string{SANDBOXD_PROFILES} + "/" + profile + ".json")), refusals));
}

// uretprobe and uprobe (kernels 6.11 and 6.17) belong to the kernel's own trampolines. It lets no filter see them, so that
// filters can't break traced programs (seccomp_uprobe_exception in kernel/seccomp.c), and refuses every other caller itself: SIGILL, ENXIO.
constexpr bool passes_by(std::uint32_t number) { return number == 335 || number == 336; }

// What the golden file of the profile says is refused.
std::vector<Probe> refused_by(const std::string& profile) {
    std::istringstream lines{get(sys::read_file(std::string{SANDBOXD_GOLDEN} + "/seccomp_" + profile + ".txt"))};
    std::vector<Probe> out;
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words{line};
        Probe probe;
        std::string word;
        words >> probe.number >> word >> probe.expected;
        if (word == "ALLOW" || passes_by(probe.number)) continue;
        probe.noted = word == "NOTED";
        // The golden file's arguments are zeros; those that rules look at stay so.
        const bool looked_at = probe.number == SYS_socket || probe.number == SYS_socketpair;
        if (!looked_at) probe.args.fill(kNonsense);
        out.push_back(probe);
    }
    return out;
}

bool load(const std::string& program, unsigned flags, int& listener) {
    const sock_fprog filter{static_cast<unsigned short>(program.size() / sizeof(sock_filter)),
                            reinterpret_cast<sock_filter*>(const_cast<char*>(program.data()))};
    listener = static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter));
    return listener >= 0;
}

// Never returns: 0 when every probe has its answer in `answers`.
[[noreturn]] void be_confined(const SeccompFilters& filters, const std::vector<Probe>& probes, int socket, int* answers) {
    int listener = -1;
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !load(filters.names, 0, listener)) ::_exit(1);
    const bool noted = !filters.refusals.empty();
    if (!load(filters.arguments, noted ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0, listener)) ::_exit(2);
    if (noted) {
        const std::byte tag{1};
        if (!sys::send_message(socket, std::span{&tag, 1}, std::span{&listener, 1})) ::_exit(3);
        ::close(listener);
    }
    for (std::size_t i = 0; i < probes.size(); ++i) {
        const auto& a = probes[i].args;
        const long rc = ::syscall(probes[i].number, a[0], a[1], a[2], a[3], a[4], a[5]);
        answers[i] = rc == -1 ? errno : -1 - static_cast<int>(rc);  // done: -1
    }
    ::_exit(0);
}

struct Outcome {
    std::vector<int> answers;
    std::map<std::uint32_t, int> notes;  // by number
    int status = -1;
};

void serve(const Fd& listener, const SeccompFilters& filters, std::map<std::uint32_t, int>& notes) {
    for (;;) {
        pollfd ready{listener.get(), POLLIN, 0};
        if (::poll(&ready, 1, 20'000) <= 0 || (ready.revents & POLLIN) == 0) return;
        seccomp_notif call{};
        if (::ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) continue;
        const auto number = static_cast<std::uint32_t>(call.data.nr);
        std::uint64_t args[6];
        std::memcpy(args, call.data.args, sizeof args);
        RefusalRule rule;
        seccomp_notif_resp answer{};
        answer.id = call.id;
        answer.error = find_refusal(filters.refusals, number, args, rule) ? -static_cast<int>(rule.error) : -ENOTRECOVERABLE;
        ++notes[number];
        (void)::ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
}

enum class Listener { served, closed };

Outcome probe(const SeccompFilters& filters, const std::vector<Probe>& probes, Listener listening = Listener::served) {
    const std::size_t size = probes.size() * sizeof(int);
    void* shared = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    const Fd ours{ends[0]};
    Fd theirs{ends[1]};
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) be_confined(filters, probes, theirs.get(), static_cast<int*>(shared));
    theirs.reset();
    Outcome out;
    if (!filters.refusals.empty()) {
        std::array<std::byte, 8> buffer;
        auto message = sys::receive_message(ours.get(), buffer);
        REQUIRE(message);
        REQUIRE(message->fds.size() == 1);
        const Fd listener = std::move(message->fds[0]);
        if (listening == Listener::served) serve(listener, filters, out.notes);
    }
    REQUIRE(::waitpid(child, &out.status, 0) == child);
    out.answers.assign(static_cast<int*>(shared), static_cast<int*>(shared) + probes.size());
    ::munmap(shared, size);
    return out;
}

}  // namespace

TEST_CASE("the loaded profiles answer every refused number as their golden files say, and tell of it once") {
    for (const char* profile : {"default", "strict", "debug"}) {
        const std::vector<Probe> probes = refused_by(profile);
        REQUIRE(probes.size() > 300);
        const Outcome noted = probe(compiled(profile), probes);
        REQUIRE(noted.status == 0);
        // The kernel alone, where there can be no listener.
        const Outcome silent = probe(compiled(profile, Refusals::silent), probes);
        REQUIRE(silent.status == 0);
        for (std::size_t i = 0; i < probes.size(); ++i) {
            INFO(profile << ": " << probes[i].number);
            const int expected = probes[i].expected == 0 ? -1 : probes[i].expected;
            CHECK(noted.answers[i] == expected);
            CHECK(silent.answers[i] == expected);
            const auto found = noted.notes.find(probes[i].number);
            CHECK((found == noted.notes.end() ? 0 : found->second) == (probes[i].noted ? 1 : 0));
        }
    }
}

TEST_CASE("the loaded filters compare arguments as 32 bits, whatever stands above them") {
    const std::uint64_t above = 0x1'0000'0000ULL;
    const std::vector<Probe> probes{
        {SYS_ioctl, {0, above | 0x5412, 0}, EPERM, true},
        {SYS_ioctl, {0, above | 0x40049409, 0}, EOPNOTSUPP, false},
        {SYS_socket, {above | 38, 5, 0}, EAFNOSUPPORT, true},
        {SYS_socket, {2, above | 3, 0}, EPERM, true},
        {SYS_socket, {2, 1, above | 132}, EPROTONOSUPPORT, true},
        {SYS_clone, {above | 0x10000000, 0, 0, 0, 0}, EPERM, true},
        {SYS_setsockopt, {kNonsense, above | 6, above | 31, 0, 0}, ENOPROTOOPT, true},
        {SYS_prctl, {above | 62, 0, 0, 0, 0}, EPERM, true},
        {SYS_seccomp, {1, above | 8, 0}, EPERM, true},
        {SYS_futex, {0, above | 6, 0, 0, 0, 0}, ENOSYS, false},
        {SYS_personality, {above | 0x400000}, EPERM, true},
        // Allowed: what comes is the kernel's own answer.
        {SYS_ioctl, {kNonsense, 0x5413, 0}, EBADF, false},
        {SYS_setsockopt, {kNonsense, 6, 1, 0, 0}, EBADF, false},
    };
    const Outcome outcome = probe(compiled("default"), probes);
    REQUIRE(outcome.status == 0);
    int noted = 0;
    for (std::size_t i = 0; i < probes.size(); ++i) {
        INFO(i);
        CHECK(outcome.answers[i] == probes[i].expected);
        noted += probes[i].noted ? 1 : 0;
    }
    int told = 0;
    for (const auto& [number, count] : outcome.notes) told += count;
    CHECK(told == noted);
}

TEST_CASE("when nobody listens any more, what is refused with a note stays refused: ENOSYS") {
    const std::vector<Probe> probes{{SYS_mount, {}, ENOSYS, true}, {SYS_socket, {38, 5, 0}, ENOSYS, true}, {SYS_ptrace, {16, 1}, ENOSYS, true}};
    const Outcome outcome = probe(compiled("default"), probes, Listener::closed);
    REQUIRE(outcome.status == 0);
    CHECK(outcome.answers == std::vector<int>{ENOSYS, ENOSYS, ENOSYS});
}

}  // namespace sandboxd::isolation::test
