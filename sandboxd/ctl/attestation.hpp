#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "sandboxd/core/result.hpp"

namespace sandboxd::ctl {

// Whose signature is worth something: a key's fingerprint ("sha256:…"), or the name of a file with
// the key in PEM. The fingerprint; invalid_argument for what is neither.
[[nodiscard]] Result<std::string> fingerprint_of(const std::string& key_or_file);
[[nodiscard]] Result<std::string> fingerprint_of_pem(std::string_view pem);

// The payload of an answer of GET /v1/attest, once its signature is found to be the key's that
// comes with it, and that key to have the fingerprint that the answer says, and `trusted`, unless
// that is empty, and the payload to have `nonce`. protocol_error says which of these is not so.
[[nodiscard]] Result<nlohmann::json> check_attestation(const nlohmann::json& answer,
                                                       std::string_view nonce,
                                                       std::string_view trusted);

}  // namespace sandboxd::ctl
