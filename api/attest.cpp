#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "api/exec_params.hpp"
#include "api/json.hpp"
#include "api/resource_routes.hpp"
#include "api/stream_encoding.hpp"
#include "sandboxd/engine/engine.hpp"

// What the walls of this node are worth. The monitor tests and signs; this process only passes it on, and can't make one
// up: the key is out of its reach.
namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr auto kPatience = std::chrono::seconds{60};  // of a fresh test on a busy machine

constexpr std::array kQuery{
    Field{.name = "nonce", .description = "Comes back in the payload: a value that was never used before shows that the answer is no old one.",
          .min = 1, .max = 128, .pattern = "^[A-Za-z0-9._-]{1,128}$"},
    Field{.name = "fresh", .type = Type::boolean, .description = "Test now, at most every 10 s, instead of signing the last result.", .default_text = "false"},
};

constexpr std::array kFields{
    Field{.name = "payload", .required = true,
          .description = "JSON text: type, nonce, issued_at, tested_at, test_ms, verdict, accepted_broken, version, kernel, machine, "
                         "seccomp_sha256, walls[{name, status, required, seen, observed}]. Its UTF-8 bytes are what was signed."},
    Field{.name = "signature", .required = true, .description = "Ed25519 (RFC 8032) over those bytes, in base64."},
    Field{.name = "algorithm", .required = true, .description = "Ed25519."},
    Field{.name = "public_key", .required = true, .description = "PEM. Compare its fingerprint with one that you trust."},
    Field{.name = "fingerprint", .required = true, .description = "sha256: and the digest of the key's DER form in hex."},
};
constexpr Schema kAttestationSchema{"Attestation", kFields, true};

asio::awaitable<Result<void>> get_attestation(Exchange& exchange) {
    control::AttestRequest request;
    request.nonce = exchange.query("nonce").value_or("");
    SBX_CO_TRY(request.fresh, query_flag(exchange, "fresh"));
    const Deadline deadline = Deadline::after(kPatience);
    SBX_CO_TRY(const control::Attestation attestation, co_await exchange.engine().attest(std::move(request), deadline));
    json body = json::object();
    body["payload"] = attestation.payload;
    body["signature"] = to_base64(attestation.signature);
    body["algorithm"] = "Ed25519";
    body["public_key"] = attestation.public_key;
    body["fingerprint"] = attestation.fingerprint;
    Response response = json_response(200, body);
    response.headers.emplace_back("Cache-Control", "no-store");
    co_return co_await exchange.respond(std::move(response));
}

constexpr std::array kRoutes{
    Route{.method = "GET", .pattern = "/v1/attest", .handler = get_attestation, .operation_id = "getAttestation",
          .summary = "Which walls hold on this node, as a self-test in a sandbox of its own saw it, signed.", .query = kQuery,
          .response = &kAttestationSchema},
};

}  // namespace

std::span<const Route> attest_routes() noexcept { return kRoutes; }

}  // namespace sandboxd::api
