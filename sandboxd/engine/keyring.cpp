#include "sandboxd/engine/keyring.hpp"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::engine {

namespace {

constexpr std::string_view kHashPrefix = "sha256:";

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// RFC 4648 section 5, without padding.
std::string base64url(std::span<const std::byte> data) {
    static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::string out;
    std::uint32_t bits = 0;
    int count = 0;
    for (const std::byte b : data) {
        bits = bits << 8 | static_cast<std::uint32_t>(b);
        count += 8;
        while (count >= 6) {
            count -= 6;
            out += kAlphabet[bits >> count & 63U];
        }
    }
    if (count > 0) out += kAlphabet[bits << (6 - count) & 63U];
    return out;
}

}  // namespace

std::string to_hex(const KeyHash& hash) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string out;
    for (const std::byte byte : hash) {
        out += kDigits[std::to_integer<unsigned>(byte) >> 4];
        out += kDigits[std::to_integer<unsigned>(byte) & 15];
    }
    return out;
}

KeyHash sha256(std::string_view text) {
    KeyHash out{};
    ::SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), reinterpret_cast<unsigned char*>(out.data()));
    return out;
}

Result<std::string> new_key_secret() {
    std::array<std::byte, 32> random{};
    SBX_CHECK(sys::fill_random(random));
    return "sbx_" + base64url(random);
}

Result<KeyHash> hash_of_secret(std::string_view secret) {
    if (secret.substr(0, kHashPrefix.size()) != kHashPrefix) return sha256(secret);
    const std::string_view digits = secret.substr(kHashPrefix.size());
    KeyHash out{};
    const Error bad{Errc::invalid_argument, "key", "expected 64 hex digits after \"sha256:\""};
    if (digits.size() != 2 * out.size()) return bad;
    for (std::size_t i = 0; i < out.size(); ++i) {
        const int high = hex_digit(digits[2 * i]);
        const int low = hex_digit(digits[2 * i + 1]);
        if (high < 0 || low < 0) return bad;
        out[i] = static_cast<std::byte>(high * 16 + low);
    }
    return out;
}

std::size_t Keyring::HashOfHash::operator()(const KeyHash& hash) const noexcept {
    std::size_t out = 0;
    std::memcpy(&out, hash.data(), sizeof out);
    return out;
}

void Keyring::put(ledger::KeyRecord record) {
    const KeyHash hash = record.hash;
    by_hash_.insert_or_assign(hash, std::move(record));
}

Result<void> Keyring::revoke(const KeyId& id, WallTime now) {
    for (auto& [hash, record] : by_hash_) {
        if (record.id != id) continue;
        if (record.revoked) return Error{Errc::conflict, "key", id.str() + " is revoked already"};
        record.revoked = now;
        return {};
    }
    return Error{Errc::not_found, "key", id.str() + " does not exist"};
}

std::optional<ledger::KeyRecord> Keyring::find(const KeyHash& hash) const {
    const auto found = by_hash_.find(hash);
    if (found == by_hash_.end() || ::CRYPTO_memcmp(found->first.data(), hash.data(), hash.size()) != 0) return std::nullopt;
    return found->second;
}

std::optional<ledger::KeyRecord> Keyring::authenticate(std::string_view key) const {
    auto record = find(sha256(key));
    if (record && record->revoked) return std::nullopt;
    return record;
}

std::vector<ledger::KeyRecord> Keyring::all() const {
    std::vector<ledger::KeyRecord> out;
    out.reserve(by_hash_.size());
    for (const auto& [hash, record] : by_hash_) out.push_back(record);
    std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
        return a.created != b.created ? a.created < b.created : a.id < b.id;
    });
    return out;
}

}  // namespace sandboxd::engine
