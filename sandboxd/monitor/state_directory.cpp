#include "sandboxd/monitor/state_directory.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pwd.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <vector>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::monitor {

Result<ApiUser> find_api_user(const Config& config, std::uint32_t fallback) {
    const std::string name = config.api_user.empty() ? "sandboxd" : config.api_user;
    passwd entry{};
    passwd* found = nullptr;
    std::vector<char> buffer(16 * 1024);
    (void)::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);  // not found and failed are the same here
    if (found != nullptr) {
        if (entry.pw_uid == 0) return Error{Errc::invalid_argument, "api_user", "must not be root"};
        return ApiUser{entry.pw_uid, entry.pw_gid};
    }
    if (!config.api_user.empty()) {
        return Error{Errc::invalid_argument, "api_user", "no user " + name + " on this machine: make it with `useradd --system " + name + "`"};
    }
    return ApiUser{fallback, fallback};
}

Result<Fd> open_state_directory(const std::string& path) {
    for (std::size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
        auto made = sys::mkdirat(AT_FDCWD, path.substr(0, slash).c_str(), 0755);
        if (!made && made.error().errc() != Errc::conflict) return std::move(made).error().with("state folder");
    }
    SBX_CHECK(sys::ensure_dir(path, 0711));
    SBX_CHECK(sys::chmod(path, 0711));
    SBX_TRY(Fd lock, sys::open(path + "/lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
    SBX_TRY(const bool ours, sys::try_lock(lock.get()));
    if (!ours) {
        return Error{Errc::conflict, "state folder", path + " is in use by another sandboxd: stop it, or choose another with --state-dir"};
    }
    return lock;
}

Result<void> make_api_directory(const std::string& state_dir, ApiUser user) {
    const std::string path = state_dir + "/api";
    SBX_CHECK(sys::ensure_dir(path, 0700));
    SBX_TRY(const struct stat folder, sys::statat(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW));
    if (folder.st_uid == user.uid && folder.st_gid == user.gid) return {};
    // Another user than last time: one was made or chosen since, or the fallback was another's meanwhile. Nobody writes
    // here now; no symlink is followed; the folder itself last, so that what breaks off is begun again.
    std::error_code error;
    std::filesystem::recursive_directory_iterator entries{path, error};
    for (; !error && entries != std::filesystem::recursive_directory_iterator{}; entries.increment(error)) {
        SBX_CHECK(sys::chownat(AT_FDCWD, entries->path().c_str(), user.uid, user.gid));
    }
    if (error) return errno_error(error.value(), "list", path);
    return sys::chownat(AT_FDCWD, path.c_str(), user.uid, user.gid);
}

Result<std::string> dev_key(const std::string& state_dir) {
    const std::string path = state_dir + "/dev.key";
    auto text = sys::read_file(path, 4096);
    if (text) {
        std::string key = *std::move(text);
        while (!key.empty() && (key.back() == '\n' || key.back() == ' ')) key.pop_back();
        if (key.size() < 32) return Error{Errc::invalid_argument, "dev key", path + " is too short: remove it, a new one is made"};
        return key;
    }
    if (text.error().errc() != Errc::not_found) return std::move(text).error();
    std::array<std::byte, 32> random{};
    SBX_CHECK(sys::fill_random(random));
    std::array<unsigned char, 48> encoded{};
    const int n = EVP_EncodeBlock(encoded.data(), reinterpret_cast<const unsigned char*>(random.data()), random.size());
    std::string key = "sbx_";
    for (int i = 0; i < n; ++i) {
        const char c = static_cast<char>(encoded[static_cast<std::size_t>(i)]);
        if (c == '=') break;
        key += c == '+' ? '-' : c == '/' ? '_' : c;  // base64url
    }
    SBX_CHECK(sys::write_file_atomic(path, key + "\n", 0600));
    return key;
}

std::string sha256_hex(std::string_view text) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
    ::SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string out;
    for (const unsigned char byte : digest) {
        out += kHex[byte >> 4];
        out += kHex[byte & 15];
    }
    return out;
}

std::string instance_name(const std::string& state_dir) { return sha256_hex(state_dir).substr(0, 8); }

}  // namespace sandboxd::monitor
