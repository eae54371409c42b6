#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "sandboxd/attest/signing_key.hpp"
#include "sandboxd/core/sys.hpp"

using namespace sandboxd;
using attest::SigningKey;

namespace {

struct Folder {
    std::string path;
    Folder() {
        std::string name = (std::filesystem::temp_directory_path() / "attest-key-XXXXXX").string();
        path = ::mkdtemp(name.data());
    }
    ~Folder() { std::filesystem::remove_all(path); }
};

bool verifies(const std::string& pem, std::string_view text, const std::string& signature) {
    BIO* const bio = ::BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
    EVP_PKEY* const key = ::PEM_read_bio_PUBKEY(bio, nullptr, nullptr, nullptr);
    EVP_MD_CTX* const context = ::EVP_MD_CTX_new();
    const bool good = ::EVP_DigestVerifyInit(context, nullptr, nullptr, nullptr, key) == 1 &&
                      ::EVP_DigestVerify(context, reinterpret_cast<const unsigned char*>(signature.data()), signature.size(),
                                         reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1;
    ::EVP_MD_CTX_free(context);
    ::EVP_PKEY_free(key);
    ::BIO_free(bio);
    return good;
}

}  // namespace

TEST_CASE("the key is made once, for its owner's eyes only, and signs") {
    const Folder folder;
    const std::string path = folder.path + "/attest.key";
    auto first = SigningKey::load_or_make(path);
    REQUIRE(first);
    struct stat info {};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0600);
    auto again = SigningKey::load_or_make(path);
    REQUIRE(again);
    CHECK(first->fingerprint() == again->fingerprint());
    CHECK(first->fingerprint().size() == 7 + 64);
    CHECK(first->public_pem().find("PRIVATE") == std::string::npos);

    const auto signature = again->sign("a text");
    REQUIRE(signature);
    CHECK(verifies(first->public_pem(), "a text", *signature));
    CHECK_FALSE(verifies(first->public_pem(), "another text", *signature));
    auto other = SigningKey::load_or_make(folder.path + "/other.key");
    REQUIRE(other);
    CHECK_FALSE(verifies(other->public_pem(), "a text", *signature));
}

TEST_CASE("a key that others can read, or that is none, is refused with the cure") {
    const Folder folder;
    const std::string path = folder.path + "/attest.key";
    REQUIRE(SigningKey::load_or_make(path));
    REQUIRE(::chmod(path.c_str(), 0644) == 0);
    auto open = SigningKey::load_or_make(path);
    REQUIRE_FALSE(open);
    CHECK(open.error().message().find("chmod 600") != std::string::npos);

    REQUIRE(sys::write_file_atomic(path, "nonsense", 0600));
    auto nonsense = SigningKey::load_or_make(path);
    REQUIRE_FALSE(nonsense);
    CHECK(nonsense.error().message().find("remove it") != std::string::npos);

    std::filesystem::remove(path);
    std::filesystem::create_symlink("/dev/null", path);
    CHECK_FALSE(SigningKey::load_or_make(path));
}
