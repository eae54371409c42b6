#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sandboxd/attest/findings.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::attest {

inline constexpr std::size_t kMaxNonce = 128;
// At most kMaxNonce of A-Z a-z 0-9 . _ - ; empty: none.
[[nodiscard]] bool is_nonce(std::string_view text) noexcept;

struct Statement {
    std::string nonce;
    WallTime issued{};
    std::string seccomp_sha256;            // of the filters that were loaded, arguments then names
    std::vector<std::string> accepted;     // unsafe_accept_broken_walls
};

// The text that is signed: one JSON object, its keys sorted, no blanks. Its bytes are what counts; nobody has to write
// it again to check a signature.
[[nodiscard]] std::string to_text(const Statement& statement, const TestResult& result);

}  // namespace sandboxd::attest
