#pragma once

#include <cstdint>
#include <string_view>

#include "sandboxd/core/result.hpp"
#include "sandboxd/core/strong_id.hpp"

namespace sandboxd {

using SandboxId = StrongId<struct SandboxTag>;
using ExecId = StrongId<struct ExecTag>;
using TenantId = StrongId<struct TenantTag>;  // ^[a-z0-9][a-z0-9_-]{0,39}$
using KeyId = StrongId<struct KeyTag>;

// The place that ids are made for and accepted at (architecture: ids can't change later).
// `epoch` grows only when a node's table of sandboxes was lost.
struct NodeIdentity {
    std::uint8_t region = 0;   // 0..255
    std::uint8_t cell = 0;     // 0..31
    std::uint32_t node = 0;    // 0..2^20-1
    std::uint32_t epoch = 0;   // 0..2^15-1
    bool operator==(const NodeIdentity&) const = default;
};

enum class IdKind : char { sandbox = 's', exec = 'e', snapshot = 'n', key = 'k', request = 'r' };

// Fixed width, lower-case base32 (Crockford's alphabet without i, l, o, u), no separator, 26 characters:
//   kind 1 · region 2 · cell 1 · node 4 · epoch 3 · random 13 (65 bits) · check 2 (10 bits over the rest)
struct DecodedId {
    IdKind kind{};
    NodeIdentity node;
    bool operator==(const DecodedId&) const = default;
};

inline constexpr std::size_t kIdLength = 26;

// Random bits come from the kernel (getrandom).
[[nodiscard]] std::string generate_id(IdKind kind, const NodeIdentity& node);
// invalid_argument when the text is no id of ours (length, alphabet, check).
[[nodiscard]] Result<DecodedId> decode_id(std::string_view text);
// Generated ids of this node; node_lost for another node or epoch; and caller-chosen ids, which match
// ^[a-z0-9]{8,40}$ without decoding as one of ours.
[[nodiscard]] Result<SandboxId> parse_sandbox_id(std::string_view text, const NodeIdentity& here);
[[nodiscard]] Result<TenantId> parse_tenant_id(std::string_view text);
// Exec ids are unique in their sandbox: a counter that also names the exec's cgroup, written in base32 with 13 digits.
[[nodiscard]] ExecId exec_id_from_number(std::uint64_t number);
[[nodiscard]] Result<std::uint64_t> exec_number(std::string_view text);

}  // namespace sandboxd
