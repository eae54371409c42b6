#include "policies/denial.hpp"

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "policies/syscall_text.hpp"

namespace sandboxd::policies {

namespace {

std::string file(const std::string& name) {
    std::ifstream in{std::string{SANDBOXD_PROFILES} + "/" + name + ".json"};
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

const SeccompProfiles& shipped() {
    static const SeccompProfiles profiles = [] {
        SeccompProfiles out;
        for (std::size_t i = 0; i < kProfiles; ++i) {
            auto parsed = parse_seccomp_profile(file(std::string{to_string(static_cast<Profile>(i))}));
            REQUIRE(parsed);
            out[i] = *std::move(parsed);
        }
        return out;
    }();
    return profiles;
}

Denial told(Profile profile, std::uint32_t number, std::vector<RefusedCall::Argument> arguments = {}) {
    RefusedCall call;
    call.number = number;
    call.arguments = std::move(arguments);
    call.count = 3;
    return explain(call, profile, shipped());
}

constexpr std::uint32_t kIoctl = 16, kSocket = 41, kClone = 56, kPtrace = 101, kMknod = 133, kMount = 165, kUnshare = 272, kBpf = 321;

}  // namespace

TEST_CASE("a refused call is told by its name and the arguments that matter") {
    CHECK(told(Profile::standard, kMount) == Denial{"mount", "mount", "seccomp:default", "no profile allows it", 3});
    CHECK(told(Profile::standard, kMknod, {{1, 0020644}}).kind == "device");
    CHECK(told(Profile::standard, kMknod, {{1, 0020644}}).what == "mknod(S_IFCHR)");
    CHECK(told(Profile::standard, kSocket, {{0, 38}}).what == "socket(AF_ALG)");
    CHECK(told(Profile::standard, kSocket, {{0, 2}, {1, 3 | 02000000}}).what == "socket(AF_INET, SOCK_RAW)");
    CHECK(told(Profile::standard, kSocket, {{0, 77}}).what == "socket(77)");
    CHECK(told(Profile::standard, kUnshare, {{0, 0x10000000 | 0x00020000}}).what == "unshare(CLONE_NEWNS|CLONE_NEWUSER)");
    CHECK(told(Profile::standard, kUnshare, {{0, 0}}).what == "unshare(0)");
    CHECK(told(Profile::standard, kBpf, {{0, 5}}).what == "bpf(5)");
    CHECK(told(Profile::standard, kIoctl, {{1, 0x5412}}).what == "ioctl(0x5412)");
    CHECK(told(Profile::standard, 59999).what == "syscall 59999");
    CHECK(told(Profile::standard, UINT32_MAX).what == "syscall 4294967295");
}

TEST_CASE("the hint names the narrowest profile that allows the call, or the reason why none does") {
    CHECK(told(Profile::standard, kPtrace, {{0, 16}}).hint == "create the sandbox with profile \"debug\"");
    CHECK(told(Profile::strict, kPtrace, {{0, 16}}).hint == "create the sandbox with profile \"debug\"");
    CHECK(told(Profile::strict, kSocket, {{0, 2}, {1, 1}}).hint == "create the sandbox with profile \"default\"");
    CHECK(told(Profile::strict, kSocket, {{0, 38}, {1, 1}}).hint == "no profile allows it");
    CHECK(told(Profile::debug, kPtrace, {{0, 16}}).hint == "no profile allows it");  // not refused: a profile that has changed
    CHECK(told(Profile::standard, kIoctl, {{1, 0x5412}}).hint == "no profile allows it: TIOCSTI");
    CHECK(told(Profile::standard, kClone, {{0, 0x10000000}}).hint == "no profile allows it: CLONE_NEWUSER");
    RefusedCall call;
    call.number = kMount;
    CHECK(explain(call, Profile::standard, SeccompProfiles{}).hint == "no profile allows it");  // without any text
}

TEST_CASE("resources are told with the limit, its value and the field") {
    Limits limits;
    limits.memory_bytes = 64ULL << 20;
    limits.pids = 8;
    limits.disk_bytes = 32ULL << 20;
    limits.output_bytes = 2ULL << 20;
    CHECK(memory_denial(limits, 2).rule == "limits.memory_mb=64");
    CHECK(memory_denial(limits, 2).count == 2);
    CHECK(pids_denial(limits, 7).rule == "limits.pids=8");
    CHECK(disk_denial(limits, 31ULL << 20).rule == "limits.disk_mb=32");
    CHECK(file_size_denial().kind == "file_limit");
    CHECK(output_denial("stdout", 2ULL << 20, limits, 99).rule == "limits.output_mb=2");
    CHECK(output_denial("stdout", 1ULL << 20, limits, 99).rule == "output_mb=1");
    CHECK(output_denial("stderr", 1ULL << 20, limits, 99).count == 99);
}

TEST_CASE("what is stored comes back, and nothing else is taken for it") {
    Denials denials;
    CHECK(to_text(denials).empty());
    denials.list = {told(Profile::standard, kMount), file_size_denial()};
    denials.others = UINT64_MAX;
    auto back = parse_denials(to_text(denials));
    REQUIRE(back);
    CHECK(*back == denials);
    CHECK(parse_denials("")->empty());
    for (const char* wrong : {"[]", "{}", "{\"list\":[],\"others\":-1}", "{\"list\":[[1]],\"others\":0}", "{\"list\":{},\"others\":0}",
                              "{\"list\":[[\"a\",\"b\",\"c\",\"d\",\"e\"]],\"others\":0}", "nonsense"}) {
        INFO(wrong);
        CHECK_FALSE(parse_denials(wrong));
    }
}

TEST_CASE("every call that a shipped profile refuses has a name in the table, at its own number") {
    for (const std::uint32_t number : {0U, 59U, 101U, 165U, 231U, 321U, 334U, 425U, 438U, 462U}) {
        CHECK(syscall_name(number).find(' ') == std::string::npos);
    }
    CHECK(syscall_name(0) == "read");
    CHECK(syscall_name(59) == "execve");
    CHECK(syscall_name(321) == "bpf");
    CHECK(syscall_name(438) == "pidfd_getfd");
    CHECK(syscall_name(462) == "mseal");
    CHECK(syscall_name(400) == "syscall 400");
}

TEST_CASE("profiles are ordered, and a ceiling lets the narrower ones through") {
    for (std::size_t i = 0; i < kProfiles; ++i) {
        const auto profile = static_cast<Profile>(i);
        CHECK(parse_profile(to_string(profile)) == profile);
        for (std::size_t j = 0; j < kProfiles; ++j) CHECK(check_profile(profile, static_cast<Profile>(j)).has_value() == (i <= j));
    }
    CHECK_FALSE(parse_profile(""));
    CHECK_FALSE(parse_profile("standard"));
    const auto refused = check_profile(Profile::debug, Profile::strict);
    CHECK(refused.error().is(Errc::limit_exceeded));
    CHECK(refused.error().facts().size() == 3);
}

}  // namespace sandboxd::policies
