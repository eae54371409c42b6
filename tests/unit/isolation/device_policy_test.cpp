#include "isolation/device_policy.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <stdexcept>

namespace sandboxd::isolation::test {

namespace {

// What the kernel would answer: the few instructions that the program is made of, anything else is
// an error.
std::uint64_t evaluate(const std::vector<bpf_insn>& program, const bpf_cgroup_dev_ctx& context) {
    std::array<std::uint64_t, 11> registers{};
    const std::array<std::uint32_t, 3> words{context.access_type, context.major, context.minor};
    for (std::size_t at = 0; at < program.size(); ++at) {
        const bpf_insn& one = program[at];
        std::uint64_t& to = registers.at(one.dst_reg);
        const auto value = static_cast<std::uint32_t>(one.imm);
        const auto jump = static_cast<std::size_t>(one.off);
        switch (one.code) {
            case BPF_LDX | BPF_MEM | BPF_W:
                if (one.src_reg != BPF_REG_1) throw std::runtime_error{"loads from elsewhere"};
                to = words.at(static_cast<std::size_t>(one.off) / 4);
                break;
            case BPF_ALU64 | BPF_MOV | BPF_X:
                to = registers.at(one.src_reg);
                break;
            case BPF_ALU64 | BPF_MOV | BPF_K:
                to = value;
                break;
            case BPF_ALU64 | BPF_AND | BPF_K:
                to &= value;
                break;
            case BPF_ALU64 | BPF_RSH | BPF_K:
                to >>= value;
                break;
            case BPF_JMP32 | BPF_JEQ | BPF_K:
                if (static_cast<std::uint32_t>(to) == value) at += jump;
                break;
            case BPF_JMP32 | BPF_JNE | BPF_K:
                if (static_cast<std::uint32_t>(to) != value) at += jump;
                break;
            case BPF_JMP | BPF_EXIT:
                return registers[BPF_REG_0];
            default:
                throw std::runtime_error{"an instruction of another kind"};
        }
    }
    throw std::runtime_error{"the program does not end"};
}

constexpr std::uint32_t kRead = BPF_DEVCG_ACC_READ;
constexpr std::uint32_t kWrite = BPF_DEVCG_ACC_WRITE;
constexpr std::uint32_t kMake = BPF_DEVCG_ACC_MKNOD;
constexpr std::uint32_t kChar = BPF_DEVCG_DEV_CHAR;
constexpr std::uint32_t kBlock = BPF_DEVCG_DEV_BLOCK;

bool allows(std::uint32_t access, std::uint32_t kind, std::uint32_t major, std::uint32_t minor) {
    static const std::vector<bpf_insn> program = device_program(allowed_devices());
    return evaluate(program, {access << 16 | kind, major, minor}) == 1;
}

}  // namespace

TEST_CASE("the device program lets the harmless character devices be read and written") {
    for (const std::uint32_t minor : {3U, 5U, 7U, 8U, 9U}) {
        INFO("1:" << minor);
        CHECK(allows(kRead | kWrite, kChar, 1, minor));
        CHECK(allows(kRead, kChar, 1, minor));
    }
    CHECK(allows(kRead | kWrite, kChar, 5, 0));
    CHECK(allows(kRead | kWrite, kChar, 5, 2));
    for (const std::uint32_t minor : {0U, 255U, 1'048'575U})
        CHECK(allows(kWrite, kChar, 136, minor));
    CHECK(allows(kWrite, kChar, 143, 7));
}

TEST_CASE("the device program refuses every other device") {
    for (const std::uint32_t minor : {0U, 1U, 2U, 4U, 6U, 10U, 11U, 12U, 0xFFFF'FFFFU}) {
        INFO("1:" << minor);
        CHECK_FALSE(allows(kRead, kChar, 1, minor));
    }
    CHECK_FALSE(allows(kRead, kChar, 5, 1));  // the console
    CHECK_FALSE(allows(kRead, kChar, 135, 0));
    CHECK_FALSE(allows(kRead, kChar, 144, 0));
    CHECK_FALSE(allows(kRead, kChar, 10, 229));   // fuse
    CHECK_FALSE(allows(kRead, kChar, 195, 255));  // nvidiactl
    CHECK_FALSE(allows(kRead, kChar, 0xFFFF'FFFF, 3));
    CHECK_FALSE(allows(0, kChar, 10, 200));
}

TEST_CASE("the device program refuses block devices of the same numbers, and making any device") {
    CHECK_FALSE(allows(kRead, kBlock, 1, 3));
    CHECK_FALSE(allows(kRead, kBlock, 136, 0));
    CHECK_FALSE(allows(kRead, kBlock, 254, 0));
    CHECK_FALSE(allows(kRead, 0, 1, 3));
    CHECK_FALSE(allows(kRead, kChar | kBlock, 1, 3));
    for (const std::uint32_t also : {0U, kRead, kWrite, kRead | kWrite}) {
        CHECK_FALSE(allows(kMake | also, kChar, 1, 3));
        CHECK_FALSE(allows(kMake | also, kBlock, 254, 0));
    }
}

TEST_CASE("a device program of nothing refuses everything, one more device is one more device") {
    CHECK(evaluate(device_program({}), {kRead << 16 | kChar, 1, 3}) == 0);
    std::vector<AllowedDevice> more = allowed_devices();
    more.push_back({195, 255});
    const auto program = device_program(more);
    CHECK(evaluate(program, {kRead << 16 | kChar, 195, 255}) == 1);
    CHECK(evaluate(program, {kRead << 16 | kChar, 195, 0}) == 0);
    CHECK(evaluate(program, {kRead << 16 | kChar, 1, 3}) == 1);
}

}  // namespace sandboxd::isolation::test
