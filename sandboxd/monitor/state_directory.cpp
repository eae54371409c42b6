#include "sandboxd/monitor/state_directory.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <pwd.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <vector>

#include "sandboxd/attest/sha256.hpp"
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

namespace {

constexpr int kMaxDepth = 8;  // spool/SANDBOX/EXEC.out is 3

// Everything below `folder`. The API, which is not trusted, wrote the tree, and a predecessor's that was orphaned may still
// run: so each folder is entered by descriptor, and no symlink is followed at any step (openat(2), O_NOFOLLOW).
Result<void> give_away(int folder, ApiUser user, int depth) {
    if (depth == 0) return Error{Errc::invalid_argument, "state folder", "api/ is deeper than sandboxd-api makes it: look what is there"};
    std::error_code error;
    std::filesystem::directory_iterator entries{"/proc/self/fd/" + std::to_string(folder), error};
    for (; !error && entries != std::filesystem::directory_iterator{}; entries.increment(error)) {
        const std::string name = entries->path().filename().string();
        SBX_CHECK(sys::chownat(folder, name.c_str(), user.uid, user.gid));
        SBX_TRY(const struct stat info, sys::statat(folder, name.c_str(), AT_SYMLINK_NOFOLLOW));
        if (!S_ISDIR(info.st_mode)) continue;
        SBX_TRY(const Fd below, sys::openat(folder, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
        SBX_CHECK(give_away(below.get(), user, depth - 1));
    }
    if (error) return errno_error(error.value(), "list", "api/");
    return {};
}

}  // namespace

Result<void> make_api_directory(const std::string& state_dir, ApiUser user) {
    const std::string path = state_dir + "/api";
    SBX_CHECK(sys::ensure_dir(path, 0700));
    SBX_TRY(const struct stat folder, sys::statat(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW));
    if (folder.st_uid == user.uid && folder.st_gid == user.gid) return {};
    // Another user than last time: one was made or chosen since, or the fallback was another's meanwhile. The folder itself
    // last, so that what breaks off is begun again.
    SBX_TRY(const Fd opened, sys::open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    SBX_CHECK(give_away(opened.get(), user, kMaxDepth));
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

std::string instance_name(const std::string& state_dir) { return attest::sha256_hex(state_dir).substr(0, 8); }

}  // namespace sandboxd::monitor
