#include "fs/volume_layout.hpp"

#include <fcntl.h>

#include "fs/kernel.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::fs {

namespace {

Result<void> make_folder(const std::string& path, mode_t mode) {
    SBX_CHECK(sys::mkdirat(AT_FDCWD, path.c_str(), mode));
    SBX_CHECK(sys::chmod(path, mode));  // whatever the umask is
    return sys::chownat(AT_FDCWD, path.c_str(), 0, 0);
}

}  // namespace

Result<void> check_volume_bytes(std::uint64_t bytes) {
    if (bytes >= kMinVolumeBytes) return {};
    return Error{Errc::invalid_argument, "volume size",
                 std::to_string(bytes) + " bytes, the least is " + std::to_string(kMinVolumeBytes)};
}

Result<void> lay_out_volume(const std::string& path) {
    SBX_CHECK(sys::chmod(path, 0700));
    SBX_CHECK(sys::chownat(AT_FDCWD, path.c_str(), 0, 0));
    SBX_CHECK(make_folder(path + "/u", 0755));
    return make_folder(path + "/w", 0700);
}

Result<bool> has_clean_work_folder(const std::string& path) {
    SBX_TRY(const std::vector<std::string> names, kernel::list_dir(path + "/w"));
    if (names.empty()) return true;
    // What overlayfs itself leaves, and takes again.
    if (names.size() != 1 || names.front() != "work") return false;
    SBX_TRY(const std::vector<std::string> inside, kernel::list_dir(path + "/w/work"));
    return inside.empty();
}

Result<void> reset_work_folder(const std::string& path) {
    SBX_CHECK(kernel::remove_tree(path + "/w"));
    return make_folder(path + "/w", 0700);
}

}  // namespace sandboxd::fs
