#include "sandboxd/attest/statement.hpp"

#include <sys/utsname.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sandboxd/version.hpp"

namespace sandboxd::attest {

namespace {

using nlohmann::json;

// Kernel releases are printable; nothing else may get into a text that is signed.
std::string printable(std::string_view text) {
    std::string out{text};
    std::replace_if(out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
    return out;
}

json wall_json(const WallFinding& finding) {
    const isolation::WallInfo& info = isolation::wall_info(finding.wall);
    return {{"name", info.name},
            {"status", to_string(finding.status)},
            {"required", info.required},
            {"seen", info.seen == isolation::Seen::tried_inside ? "inside" : "outside"},
            {"observed", printable(finding.observed)}};
}

}  // namespace

bool is_nonce(std::string_view text) noexcept {
    const auto fits = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    };
    return text.size() <= kMaxNonce && std::all_of(text.begin(), text.end(), fits);
}

std::string to_text(const Statement& statement, const TestResult& result) {
    utsname kernel{};
    (void)::uname(&kernel);  // can't fail with a buffer of ours
    json walls = json::array();
    for (const WallFinding& finding : result.walls) walls.push_back(wall_json(finding));
    const json text = {{"type", "sandboxd/attestation/1"},
                       {"nonce", statement.nonce},
                       {"issued_at", to_rfc3339(statement.issued)},
                       {"tested_at", to_rfc3339(result.begun)},
                       {"test_ms", result.took.count()},
                       {"verdict", broken_walls(result).empty() ? "holds" : "broken"},
                       {"accepted_broken", statement.accepted},
                       {"version", kVersionText},
                       {"kernel", printable(kernel.release)},
                       {"machine", printable(kernel.machine)},
                       {"seccomp_sha256", statement.seccomp_sha256},
                       {"walls", std::move(walls)}};
    return text.dump();
}

}  // namespace sandboxd::attest
