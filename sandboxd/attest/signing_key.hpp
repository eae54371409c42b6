#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "sandboxd/core/result.hpp"

namespace sandboxd::attest {

// The daemon's Ed25519 key. Movable, one owner; the secret part leaves this object into its file only.
class SigningKey {
public:
    // From a PEM file (PKCS #8, 0600); made on first use. invalid_argument, with the cure, for a file that holds
    // something else or that others can read.
    [[nodiscard]] static Result<SigningKey> load_or_make(const std::string& path);

    SigningKey(SigningKey&&) noexcept;
    SigningKey& operator=(SigningKey&&) noexcept;
    ~SigningKey();

    [[nodiscard]] Result<std::string> sign(std::string_view text) const;  // 64 bytes
    [[nodiscard]] const std::string& public_pem() const noexcept { return public_pem_; }
    // "sha256:" and the hex digest of the public key's DER form, as `openssl pkey -pubin -outform der | sha256sum` has it.
    [[nodiscard]] const std::string& fingerprint() const noexcept { return fingerprint_; }

private:
    struct Key;
    SigningKey(std::unique_ptr<Key> key, std::string public_pem, std::string fingerprint);
    std::unique_ptr<Key> key_;
    std::string public_pem_;
    std::string fingerprint_;
};

}  // namespace sandboxd::attest
