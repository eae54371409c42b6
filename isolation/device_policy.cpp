#include "isolation/device_policy.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

#include "sandboxd/core/fd.hpp"

namespace sandboxd::isolation {

namespace {

constexpr std::uint8_t kAnswer = BPF_REG_0;
constexpr std::uint8_t kRequest = BPF_REG_1;  // bpf_cgroup_dev_ctx
constexpr std::uint8_t kType = BPF_REG_2;
constexpr std::uint8_t kAccess = BPF_REG_3;
constexpr std::uint8_t kMajor = BPF_REG_4;
constexpr std::uint8_t kMinor = BPF_REG_5;

bpf_insn instruction(std::uint32_t code, std::uint8_t to, std::uint8_t from, std::size_t offset,
                     std::uint32_t value) {
    bpf_insn out{};
    out.code = static_cast<std::uint8_t>(code);
    out.dst_reg = to & 0xFU;
    out.src_reg = from & 0xFU;
    out.off = static_cast<std::int16_t>(offset);
    out.imm = static_cast<std::int32_t>(value);
    return out;
}

bpf_insn load(std::uint8_t to, std::size_t offset) {
    return instruction(BPF_LDX | BPF_MEM | BPF_W, to, kRequest, offset, 0);
}
bpf_insn copy(std::uint8_t to, std::uint8_t from) {
    return instruction(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0);
}
bpf_insn set(std::uint8_t to, std::uint32_t value) {
    return instruction(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value);
}
bpf_insn mask(std::uint8_t to, std::uint32_t value) {
    return instruction(BPF_ALU64 | BPF_AND | BPF_K, to, 0, 0, value);
}
bpf_insn shift_right(std::uint8_t to, std::uint32_t bits) {
    return instruction(BPF_ALU64 | BPF_RSH | BPF_K, to, 0, 0, bits);
}
// 32-bit compares: majors and minors are unsigned, and a 64-bit one would extend the sign of imm.
bpf_insn skip_if_other(std::uint8_t value, std::uint32_t wanted, std::size_t count) {
    return instruction(BPF_JMP32 | BPF_JNE | BPF_K, value, 0, count, wanted);
}
bpf_insn skip_if_equal(std::uint8_t value, std::uint32_t wanted, std::size_t count) {
    return instruction(BPF_JMP32 | BPF_JEQ | BPF_K, value, 0, count, wanted);
}
bpf_insn leave() {
    return instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

void answer(std::vector<bpf_insn>& program, std::uint32_t value) {
    program.push_back(set(kAnswer, value));
    program.push_back(leave());
}

constexpr std::size_t kAnswerLength = 2;

Result<Fd> load_program(const std::vector<bpf_insn>& program) {
    static constexpr char kLicense[] = "";  // no helper is called
    bpf_attr attributes{};
    attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attributes.expected_attach_type = BPF_CGROUP_DEVICE;
    attributes.insns = reinterpret_cast<std::uint64_t>(program.data());
    attributes.insn_cnt = static_cast<std::uint32_t>(program.size());
    attributes.license = reinterpret_cast<std::uint64_t>(&kLicense);
    const long fd = ::syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
    if (fd < 0) return errno_error("bpf", "BPF_PROG_LOAD");
    return Fd{static_cast<int>(fd)};
}

Result<void> attach(int cgroup, int program) {
    bpf_attr attributes{};
    attributes.target_fd = static_cast<std::uint32_t>(cgroup);
    attributes.attach_bpf_fd = static_cast<std::uint32_t>(program);
    attributes.attach_type = BPF_CGROUP_DEVICE;
    attributes.attach_flags = BPF_F_ALLOW_OVERRIDE;
    const long rc = ::syscall(SYS_bpf, BPF_PROG_ATTACH, &attributes, sizeof attributes);
    if (rc < 0) return errno_error("bpf", "BPF_PROG_ATTACH");
    return {};
}

}  // namespace

const std::vector<AllowedDevice>& allowed_devices() {
    static const std::vector<AllowedDevice> devices{
        {1, 3},  // null
        {1, 5},  // zero
        {1, 7},  // full
        {1, 8},  // random
        {1, 9},  // urandom
        {5, 0},  // tty
        {5, 2},  // ptmx
        // pts; eight majors, 1,048,576 terminals
        {136, {}},
        {137, {}},
        {138, {}},
        {139, {}},
        {140, {}},
        {141, {}},
        {142, {}},
        {143, {}},
    };
    return devices;
}

std::vector<bpf_insn> device_program(std::span<const AllowedDevice> allowed) {
    std::vector<bpf_insn> program{
        // access_type: what is asked in the upper half, the kind of device in the lower one.
        load(kType, offsetof(bpf_cgroup_dev_ctx, access_type)),
        copy(kAccess, kType),
        mask(kType, 0xFFFF),
        shift_right(kAccess, 16),
        mask(kAccess, BPF_DEVCG_ACC_MKNOD),
        load(kMajor, offsetof(bpf_cgroup_dev_ctx, major)),
        load(kMinor, offsetof(bpf_cgroup_dev_ctx, minor)),
        skip_if_equal(kType, BPF_DEVCG_DEV_CHAR, kAnswerLength),
    };
    answer(program, 0);
    program.push_back(skip_if_equal(kAccess, 0, kAnswerLength));
    answer(program, 0);
    for (const AllowedDevice& device : allowed) {
        const std::size_t checks = device.minor ? 1 : 0;
        program.push_back(skip_if_other(kMajor, device.major, kAnswerLength + checks));
        if (device.minor) program.push_back(skip_if_other(kMinor, *device.minor, kAnswerLength));
        answer(program, 1);
    }
    answer(program, 0);
    return program;
}

Result<void> attach_device_policy(int cgroup, std::span<const AllowedDevice> allowed) {
    const std::vector<bpf_insn> program = device_program(allowed);
    auto loaded = load_program(program);
    auto attached = loaded ? attach(cgroup, loaded->get()) : Result<void>{loaded.error()};
    if (attached) return {};
    return Error{Errc::incompatible, "device policy",
                 attached.error().message() +
                     ": it needs a kernel with CONFIG_CGROUP_BPF, CAP_BPF with CAP_NET_ADMIN, and "
                     "no program above that forbids others"};
}

}  // namespace sandboxd::isolation
