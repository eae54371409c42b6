#include "sandboxd/core/ids.hpp"

#include <algorithm>
#include <array>
#include <span>

#include "sandboxd/core/assert.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd {

namespace {

constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";

int digit(char c) noexcept {
    const auto at = kAlphabet.find(c);
    return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

void put(std::string& out, std::uint64_t value, std::size_t width) {
    for (std::size_t i = width; i-- > 0;) out += kAlphabet[(value >> (5 * i)) & 31];
}

Result<std::uint64_t> take(std::string_view& text, std::size_t width) {
    std::uint64_t value = 0;
    for (const char c : text.substr(0, width)) {
        const int d = digit(c);
        if (d < 0) return Error{Errc::invalid_argument, "id", "character outside of the base32 alphabet"};
        value = value << 5 | static_cast<std::uint64_t>(d);
    }
    text.remove_prefix(width);
    return value;
}

// FNV-1a folded to 10 bits: catches typing errors; it is no secret and no signature.
std::uint32_t check_of(std::string_view text) noexcept {
    std::uint32_t hash = 2166136261U;
    for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 16777619U;
    return (hash ^ hash >> 10 ^ hash >> 20) & 1023U;
}

bool is_kind(char c) noexcept { return std::string_view{"senkr"}.find(c) != std::string_view::npos; }

}  // namespace

std::string generate_id(IdKind kind, const NodeIdentity& node) {
    std::array<std::byte, 13> random{};
    SBX_ASSERT(sys::fill_random(random).has_value());
    std::string out(1, static_cast<char>(kind));
    put(out, node.region, 2);
    put(out, node.cell, 1);
    put(out, node.node, 4);
    put(out, node.epoch, 3);
    for (const std::byte b : random) out += kAlphabet[std::to_integer<unsigned>(b) & 31U];
    put(out, check_of(out), 2);
    return out;
}

Result<DecodedId> decode_id(std::string_view text) {
    if (text.size() != kIdLength || !is_kind(text[0])) return Error{Errc::invalid_argument, "id", "not an id"};
    DecodedId out;
    out.kind = static_cast<IdKind>(text[0]);
    std::string_view rest = text.substr(1);
    SBX_TRY(const std::uint64_t region, take(rest, 2));
    SBX_TRY(const std::uint64_t cell, take(rest, 1));
    SBX_TRY(const std::uint64_t node, take(rest, 4));
    SBX_TRY(const std::uint64_t epoch, take(rest, 3));
    SBX_CHECK(take(rest, 13));
    SBX_TRY(const std::uint64_t check, take(rest, 2));
    if (check != check_of(text.substr(0, kIdLength - 2))) return Error{Errc::invalid_argument, "id", "check digits do not match"};
    if (region > 255) return Error{Errc::invalid_argument, "id", "region out of range"};
    out.node = {static_cast<std::uint8_t>(region), static_cast<std::uint8_t>(cell), static_cast<std::uint32_t>(node),
                static_cast<std::uint32_t>(epoch)};
    return out;
}

Result<SandboxId> parse_sandbox_id(std::string_view text, const NodeIdentity& here) {
    const bool shaped = text.size() >= 8 && text.size() <= 40 && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    });
    if (!shaped) return Error{Errc::invalid_argument, "sandbox id", "an id matches ^[a-z0-9]{8,40}$"};
    const auto decoded = decode_id(text);
    if (decoded) {
        if (decoded->kind != IdKind::sandbox) return Error{Errc::invalid_argument, "sandbox id", "this is an id of something else"};
        if (decoded->node != here) return Error{Errc::node_lost, "sandbox id", "this sandbox lived on another node or in an earlier epoch"};
    }
    return SandboxId::trusted(std::string{text});
}

Result<TenantId> parse_tenant_id(std::string_view text) {
    const auto word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    const bool shaped = !text.empty() && text.size() <= 40 && word(text[0]) &&
                        std::all_of(text.begin(), text.end(), [&](char c) { return word(c) || c == '_' || c == '-'; });
    if (!shaped) return Error{Errc::invalid_argument, "tenant id", "a tenant id matches ^[a-z0-9][a-z0-9_-]{0,39}$"};
    return TenantId::trusted(std::string{text});
}

ExecId exec_id_from_number(std::uint64_t number) {
    std::string out;
    put(out, number, 13);
    return ExecId::trusted(std::move(out));
}

Result<std::uint64_t> exec_number(std::string_view text) {
    if (text.size() != 13 || digit(text[0]) > 15) return Error{Errc::not_found, "exec", "no such exec"};
    std::string_view rest = text;
    auto number = take(rest, 13);
    if (!number) return Error{Errc::not_found, "exec", "no such exec"};
    return *number;
}

}  // namespace sandboxd
