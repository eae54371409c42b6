#include <openssl/evp.h>
#include <openssl/pem.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "sandboxd/ctl/attestation.hpp"
#include "sandboxd/ctl/base64.hpp"

using namespace sandboxd;
using namespace sandboxd::ctl;
using nlohmann::json;

namespace {

// A daemon's key, and answers as it gives them.
class Signer {
public:
    explicit Signer(const char* type = "ED25519") {
        key_ = type == std::string_view{"ED25519"}
                   ? ::EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")
                   : ::EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
        BIO* const bio = ::BIO_new(::BIO_s_mem());
        ::PEM_write_bio_PUBKEY(bio, key_);
        char* data = nullptr;
        const long size = BIO_get_mem_data(bio, &data);
        pem.assign(data, static_cast<std::size_t>(size));
        ::BIO_free(bio);
    }
    Signer(const Signer&) = delete;
    Signer& operator=(const Signer&) = delete;
    ~Signer() { ::EVP_PKEY_free(key_); }

    [[nodiscard]] json answer(const std::string& payload) const {
        EVP_MD_CTX* const context = ::EVP_MD_CTX_new();
        std::string signature(64, '\0');
        std::size_t size = signature.size();
        ::EVP_DigestSignInit(context, nullptr, nullptr, nullptr, key_);
        ::EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size,
                         reinterpret_cast<const unsigned char*>(payload.data()), payload.size());
        ::EVP_MD_CTX_free(context);
        auto fingerprint = fingerprint_of_pem(pem);
        return {{"payload", payload},
                {"signature", to_base64(signature)},
                {"public_key", pem},
                {"fingerprint", fingerprint ? *fingerprint : ""}};
    }

    std::string pem;

private:
    EVP_PKEY* key_ = nullptr;
};

const std::string kPayload = R"({"nonce":"n","type":"sandboxd/attestation/1","verdict":"holds"})";

std::string complaint(const json& answer, const std::string& nonce = "n",
                      const std::string& trusted = "") {
    auto checked = check_attestation(answer, nonce, trusted);
    return checked ? "" : checked.error().message();
}

}  // namespace

TEST_CASE("an attestation is taken when key, signature and nonce fit") {
    const Signer signer;
    const json answer = signer.answer(kPayload);
    CHECK(complaint(answer).empty());
    CHECK(complaint(answer, "n", *fingerprint_of_pem(signer.pem)).empty());
    CHECK((*check_attestation(answer, "n", ""))["verdict"] == "holds");
}

TEST_CASE("what was changed, signed by another, or sent again is refused") {
    const Signer signer;
    const Signer other;
    const json answer = signer.answer(kPayload);

    json changed = answer;
    changed["payload"] = std::string{kPayload}.replace(kPayload.find("holds"), 5, "Holds");
    CHECK(complaint(changed).find("was changed") != std::string::npos);

    json resigned = other.answer(kPayload);
    CHECK(complaint(resigned, "n", *fingerprint_of_pem(signer.pem)).find("not by") !=
          std::string::npos);
    json swapped = answer;  // another's signature under this key
    swapped["signature"] = resigned["signature"];
    CHECK(complaint(swapped).find("was changed") != std::string::npos);
    json dressed = resigned;  // another's key under this fingerprint
    dressed["fingerprint"] = answer["fingerprint"];
    CHECK(complaint(dressed).find("fingerprint") != std::string::npos);

    CHECK(complaint(answer, "m").find("nonce") != std::string::npos);
    CHECK(complaint(signer.answer(R"({"nonce":"n","type":"else"})"))
              .find("not one that this program knows") != std::string::npos);
    CHECK(complaint(signer.answer("no json")).find("not one that this program knows") !=
          std::string::npos);
    for (const char* part : {"payload", "signature", "public_key", "fingerprint"}) {
        INFO(part);
        json lacking = answer;
        lacking.erase(part);
        CHECK_FALSE(complaint(lacking).empty());
    }
}

TEST_CASE("a key is given as a fingerprint or as a file with an Ed25519 key") {
    const Signer signer;
    const std::string fingerprint = *fingerprint_of_pem(signer.pem);
    CHECK(*fingerprint_of(fingerprint) == fingerprint);
    const std::string path =
        (std::filesystem::temp_directory_path() / "attestation-test.pem").string();
    std::ofstream{path} << signer.pem;
    CHECK(*fingerprint_of(path) == fingerprint);
    std::ofstream{path} << Signer{"EC"}.pem;
    CHECK_FALSE(fingerprint_of(path));
    std::filesystem::remove(path);
    CHECK_FALSE(fingerprint_of(path));
    CHECK_FALSE(fingerprint_of("sha256:123"));
}
