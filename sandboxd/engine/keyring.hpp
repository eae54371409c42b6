#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sandboxd/core/result.hpp"
#include "sandboxd/ledger/records.hpp"

namespace sandboxd::engine {

using KeyHash = std::array<std::byte, 32>;

[[nodiscard]] KeyHash sha256(std::string_view text);
[[nodiscard]] std::string to_hex(const KeyHash& hash);
// "sbx_" and 43 characters of base64url: 256 random bits.
[[nodiscard]] Result<std::string> new_key_secret();
// "sha256:" and 64 hex digits: the hash itself (what a configuration holds); anything else is a key that is hashed.
[[nodiscard]] Result<KeyHash> hash_of_secret(std::string_view secret);

// The API keys, by their hash. A key is looked up by its hash only, so that the time of an answer says nothing about
// keys that exist. One thread.
class Keyring {
public:
    void put(ledger::KeyRecord record);
    // not_found; conflict when it is revoked already.
    [[nodiscard]] Result<void> revoke(const KeyId& id, WallTime now);

    [[nodiscard]] std::optional<ledger::KeyRecord> authenticate(std::string_view key) const;
    [[nodiscard]] std::optional<ledger::KeyRecord> find(const KeyHash& hash) const;
    [[nodiscard]] std::vector<ledger::KeyRecord> all() const;  // oldest first

private:
    struct HashOfHash {
        std::size_t operator()(const KeyHash& hash) const noexcept;
    };
    std::unordered_map<KeyHash, ledger::KeyRecord, HashOfHash> by_hash_;
};

}  // namespace sandboxd::engine
