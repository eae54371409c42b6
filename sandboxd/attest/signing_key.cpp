#include "sandboxd/attest/signing_key.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <unistd.h>

#include "sandboxd/attest/sha256.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::attest {

namespace {

constexpr std::size_t kMaxKeyFile = 4096;
constexpr std::size_t kSignatureBytes = 64;  // RFC 8032

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
using BioPtr = std::unique_ptr<BIO, FreeBio>;

Error broken(const char* what) { return Error{Errc::internal, "attestation key", what}; }

std::string text_of(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<std::size_t>(size)};
}

Result<KeyPtr> read_key(const std::string& path) {
    SBX_TRY(const struct stat info, sys::statat(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW));
    if (!S_ISREG(info.st_mode) || (info.st_mode & 077) != 0 || info.st_uid != ::geteuid()) {
        return Error{Errc::invalid_argument, "attestation key", path + " must be a file that its daemon's user alone can read: chmod 600"};
    }
    SBX_TRY(const std::string text, sys::read_file(path, kMaxKeyFile));
    const BioPtr bio{::BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
    KeyPtr key{bio ? ::PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr) : nullptr};
    if (!key || ::EVP_PKEY_get_id(key.get()) != EVP_PKEY_ED25519) {
        return Error{Errc::invalid_argument, "attestation key", path + " holds no Ed25519 key: remove it, a new one is made"};
    }
    return key;
}

Result<KeyPtr> make_key(const std::string& path) {
    KeyPtr key{::EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")};
    const BioPtr bio{::BIO_new(::BIO_s_secmem())};
    if (!key || !bio || ::PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) return broken("can't be made");
    SBX_CHECK(sys::write_file_atomic(path, text_of(bio.get()), 0600));
    return key;
}

}  // namespace

struct SigningKey::Key {
    KeyPtr pkey;
};

SigningKey::SigningKey(std::unique_ptr<Key> key, std::string public_pem, std::string fingerprint)
    : key_{std::move(key)}, public_pem_{std::move(public_pem)}, fingerprint_{std::move(fingerprint)} {}
SigningKey::SigningKey(SigningKey&&) noexcept = default;
SigningKey& SigningKey::operator=(SigningKey&&) noexcept = default;
SigningKey::~SigningKey() = default;

Result<SigningKey> SigningKey::load_or_make(const std::string& path) {
    auto key = read_key(path);
    if (!key && key.error().errc() == Errc::not_found) key = make_key(path);
    if (!key) return std::move(key).error();
    const BioPtr bio{::BIO_new(::BIO_s_mem())};
    if (!bio || ::PEM_write_bio_PUBKEY(bio.get(), key->get()) != 1) return broken("its public part can't be written");
    const BioPtr der{::BIO_new(::BIO_s_mem())};
    if (!der || ::i2d_PUBKEY_bio(der.get(), key->get()) != 1) return broken("its public part can't be written");
    std::string fingerprint = "sha256:" + sha256_hex(text_of(der.get()));
    return SigningKey{std::make_unique<Key>(*std::move(key)), text_of(bio.get()), std::move(fingerprint)};
}

Result<std::string> SigningKey::sign(std::string_view text) const {
    const std::unique_ptr<EVP_MD_CTX, FreeDigest> context{::EVP_MD_CTX_new()};
    std::string signature(kSignatureBytes, '\0');
    std::size_t size = signature.size();
    const bool done = context && ::EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_->pkey.get()) == 1 &&
                      ::EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                                       reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1;
    if (!done || size != kSignatureBytes) return broken("can't sign");
    return signature;
}

}  // namespace sandboxd::attest
