#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

// What the init answers to a call that the filter hands to it (SECCOMP_RET_USER_NOTIF): the noted refusals of a profile
// as a table, in the order of the file. Used by sandbox-init: freestanding headers only.
namespace sandboxd::isolation {

inline constexpr std::uint8_t kNoArgument = 0xff;

struct RefusalRule {
    enum class Op : std::uint8_t { eq, ne, gt };
    struct Condition {
        std::uint32_t mask = 0;
        std::uint32_t value = 0;
        std::uint8_t arg = 0;
        Op op{};
        std::uint16_t unused = 0;
    };
    std::uint16_t number = 0;      // of the system call
    std::uint16_t error = 0;       // what it answers
    std::uint8_t conditions = 0;   // 0: the call is refused whatever its arguments are
    std::uint8_t shown[2] = {kNoArgument, kNoArgument};  // the arguments that tell refusals of one call apart
    std::uint8_t unused = 0;
    Condition all[2];
};
static_assert(sizeof(RefusalRule) == 32, "no padding: it goes over a socket as it is");

[[nodiscard]] constexpr bool holds(const RefusalRule::Condition& condition, const std::uint64_t* args) noexcept {
    // 32 bits, as the filter compares.
    const auto value = static_cast<std::uint32_t>(args[condition.arg % 6]) & condition.mask;
    switch (condition.op) {
        case RefusalRule::Op::eq: return value == condition.value;
        case RefusalRule::Op::ne: return value != condition.value;
        case RefusalRule::Op::gt: return value > condition.value;
    }
    return false;
}

// The first rule that refuses this call, copied to `found`. `table`: RefusalRules back to back.
[[nodiscard]] inline bool find_refusal(std::string_view table, std::uint32_t number, const std::uint64_t* args, RefusalRule& found) noexcept {
    for (std::size_t at = 0; at + sizeof found <= table.size(); at += sizeof found) {
        std::memcpy(&found, table.data() + at, sizeof found);
        if (found.number != number) continue;
        bool all = true;
        for (std::uint8_t i = 0; i < found.conditions && i < 2; ++i) all = all && holds(found.all[i], args);
        if (all) return true;
    }
    return false;
}

}  // namespace sandboxd::isolation
