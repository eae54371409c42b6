#include "sandboxd/ctl/attestation.hpp"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <array>
#include <memory>
#include <nlohmann/json.hpp>

#include "sandboxd/core/sys.hpp"
#include "sandboxd/ctl/answer.hpp"
#include "sandboxd/ctl/base64.hpp"

namespace sandboxd::ctl {

namespace {

using nlohmann::json;

constexpr std::size_t kKeyFileMax = 64 * 1024;

struct FreeKey {
    void operator()(EVP_PKEY* key) const noexcept { ::EVP_PKEY_free(key); }
};
struct FreeBio {
    void operator()(BIO* bio) const noexcept { ::BIO_free_all(bio); }
};
struct FreeDigest {
    void operator()(EVP_MD_CTX* context) const noexcept { ::EVP_MD_CTX_free(context); }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeKey>;

Error wrong(std::string what) {
    return Error{Errc::protocol_error, "attestation", std::move(what)};
}

Result<KeyPtr> read_public_key(std::string_view pem) {
    const std::unique_ptr<BIO, FreeBio> bio{
        ::BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))};
    KeyPtr key{bio ? ::PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr) : nullptr};
    if (!key || ::EVP_PKEY_get_id(key.get()) != EVP_PKEY_ED25519)
        return wrong("no public Ed25519 key in PEM");
    return key;
}

Result<void> verify(std::string_view pem, std::string_view text, std::string_view signature) {
    SBX_TRY(const KeyPtr key, read_public_key(pem));
    const std::unique_ptr<EVP_MD_CTX, FreeDigest> context{::EVP_MD_CTX_new()};
    const auto* bytes = reinterpret_cast<const unsigned char*>(signature.data());
    const auto* data = reinterpret_cast<const unsigned char*>(text.data());
    if (!context ||
        ::EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1 ||
        ::EVP_DigestVerify(context.get(), bytes, signature.size(), data, text.size()) != 1)
        return wrong("the signature is not that key's, or the payload was changed");
    return {};
}

bool is_fingerprint(std::string_view text) {
    constexpr std::string_view kPrefix = "sha256:";
    return text.starts_with(kPrefix) && text.size() == kPrefix.size() + 64 &&
           text.find_first_not_of("0123456789abcdef", kPrefix.size()) == std::string_view::npos;
}

}  // namespace

Result<std::string> fingerprint_of_pem(std::string_view pem) {
    SBX_TRY(const KeyPtr key, read_public_key(pem));
    unsigned char* der = nullptr;
    const int size = ::i2d_PUBKEY(key.get(), &der);
    if (size <= 0) return wrong("the key can't be written");
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned length = 0;
    const bool done = ::EVP_Digest(der, static_cast<std::size_t>(size), digest.data(), &length,
                                   ::EVP_sha256(), nullptr) == 1;
    ::OPENSSL_free(der);
    if (!done) return wrong("the key can't be hashed");
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string out = "sha256:";
    for (unsigned i = 0; i < length; ++i) {
        out += kHex[digest[i] >> 4];
        out += kHex[digest[i] & 15];
    }
    return out;
}

Result<std::string> fingerprint_of(const std::string& key_or_file) {
    if (is_fingerprint(key_or_file)) return key_or_file;
    auto pem = sys::read_file(key_or_file, kKeyFileMax);
    auto fingerprint = pem ? fingerprint_of_pem(*pem) : Result<std::string>{pem.error()};
    if (fingerprint) return fingerprint;
    return Error{Errc::invalid_argument, "--verify",
                 key_or_file +
                     ": expected sha256: and 64 hex digits, or a file with a public "
                     "Ed25519 key in PEM (" +
                     fingerprint.error().message() + ")"};
}

Result<json> check_attestation(const json& answer, std::string_view nonce,
                               std::string_view trusted) {
    const std::string payload = text_of(answer, "payload");
    const std::string pem = text_of(answer, "public_key");
    SBX_TRY(const std::string signature, from_base64(text_of(answer, "signature")));
    SBX_TRY(const std::string fingerprint, fingerprint_of_pem(pem));
    if (fingerprint != text_of(answer, "fingerprint"))
        return wrong("the fingerprint is not that of the key that came along");
    if (!trusted.empty() && trusted != fingerprint)
        return wrong("signed by " + fingerprint + ", not by " + std::string{trusted});
    SBX_CHECK(verify(pem, payload, signature));
    json document = json::parse(payload, nullptr, false);
    if (!document.is_object() || text_of(document, "type") != "sandboxd/attestation/1")
        return wrong("the payload is not one that this program knows");
    if (text_of(document, "nonce") != nonce) return wrong("an old answer: the nonce is another");
    return document;
}

}  // namespace sandboxd::ctl
