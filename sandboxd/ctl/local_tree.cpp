#include "sandboxd/ctl/local_tree.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <filesystem>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::ctl {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kEntriesMax = 1'000'000;
constexpr std::uint32_t kPermissions = 0777;  // no setuid, setgid, sticky in either direction
constexpr int kFolder = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

LocalKind kind_of(mode_t mode) {
    if (S_ISREG(mode)) return LocalKind::file;
    if (S_ISDIR(mode)) return LocalKind::directory;
    return S_ISLNK(mode) ? LocalKind::symlink : LocalKind::other;
}

Result<LocalEntry> entry_of(const std::string& full, std::string relative, int flags) {
    SBX_TRY(const struct stat info, sys::statat(AT_FDCWD, full.c_str(), flags));
    LocalEntry entry{std::move(relative),
                     kind_of(info.st_mode),
                     info.st_mode & kPermissions,
                     static_cast<std::uint64_t>(info.st_size),
                     {}};
    if (entry.kind != LocalKind::symlink) return entry;
    std::error_code code;
    entry.target = fs::read_symlink(full, code).string();
    if (code) return errno_error(code.value(), "readlink", full);
    return entry;
}

// The parts of a path that a sandbox gave, or nothing when it is none that can be below a folder.
std::vector<std::string> parts_of(const std::string& path) {
    std::vector<std::string> parts;
    std::size_t begin = 0;
    while (begin <= path.size()) {
        const std::size_t end = std::min(path.find('/', begin), path.size());
        const std::string part = path.substr(begin, end - begin);
        if (part.empty() || part == "." || part == ".." || part.size() > NAME_MAX ||
            part.find('\0') != std::string::npos)
            return {};
        parts.push_back(part);
        begin = end + 1;
    }
    return parts;
}

Result<Fd> open_folder(int above, const std::string& name, std::uint32_t mode) {
    auto made = sys::mkdirat(above, name.c_str(), mode);
    if (!made && !made.error().is_errno(EEXIST)) return std::move(made).error();
    return sys::openat(above, name.c_str(), kFolder);
}

}  // namespace

Result<std::vector<LocalEntry>> walk(const std::string& root) {
    std::vector<LocalEntry> entries;
    SBX_TRY(LocalEntry top, entry_of(root, "", 0));
    const bool folder = top.kind == LocalKind::directory;
    entries.push_back(std::move(top));
    if (!folder) return entries;
    std::error_code code;
    fs::recursive_directory_iterator at{root, code};
    for (; !code && at != fs::recursive_directory_iterator{}; at.increment(code)) {
        if (entries.size() == kEntriesMax)
            return Error{Errc::payload_too_large, root,
                         "more than a million entries: pack them first"};
        const std::string full = at->path().string();
        SBX_TRY(LocalEntry entry,
                entry_of(full, at->path().lexically_relative(root).string(), AT_SYMLINK_NOFOLLOW));
        entries.push_back(std::move(entry));
    }
    if (code) return errno_error(code.value(), "read folder", root);
    return entries;
}

Result<LocalFolder> LocalFolder::open(const std::string& path) {
    auto made = sys::mkdirat(AT_FDCWD, path.c_str(), 0777);  // less the umask
    if (!made && !made.error().is_errno(EEXIST)) return std::move(made).error();
    SBX_TRY(Fd root, sys::open(path, O_RDONLY | O_DIRECTORY));
    return LocalFolder{std::move(root)};
}

Result<LocalFolder::Place> LocalFolder::place_of(const std::string& path) {
    const std::vector<std::string> parts = parts_of(path);
    if (parts.empty())
        return Error{Errc::forbidden, "the sandbox names a file \"" + path + '"',
                     "it would be outside of the folder"};
    SBX_TRY(Fd folder, sys::openat(root_.get(), ".", O_RDONLY | O_DIRECTORY));
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
        auto below = open_folder(folder.get(), parts[i], 0777);
        if (!below) return std::move(below).error().with(path);
        folder = *std::move(below);
    }
    return Place{std::move(folder), parts.back()};
}

Result<void> LocalFolder::make_directory(const std::string& path, std::uint32_t mode) {
    SBX_TRY(const Place place, place_of(path));
    // Its owner has to be able to fill it.
    auto made = open_folder(place.folder.get(), place.name, (mode & kPermissions) | 0700);
    if (!made) return std::move(made).error().with(path);
    return Result<void>{};
}

Result<Fd> LocalFolder::create(const std::string& path, std::uint32_t mode) {
    SBX_TRY(const Place place, place_of(path));
    auto gone = sys::unlinkat(place.folder.get(), place.name.c_str());
    if (!gone && !gone.error().is_errno(ENOENT)) return std::move(gone).error().with(path);
    return sys::openat(place.folder.get(), place.name.c_str(),
                       O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode & kPermissions);
}

Result<void> LocalFolder::make_symlink(const std::string& path, const std::string& target) {
    SBX_TRY(const Place place, place_of(path));
    auto gone = sys::unlinkat(place.folder.get(), place.name.c_str());
    if (!gone && !gone.error().is_errno(ENOENT)) return std::move(gone).error().with(path);
    if (::symlinkat(target.c_str(), place.folder.get(), place.name.c_str()) == 0)
        return Result<void>{};
    return Error{Errc::conflict, path, "the symlink to " + target + " can't be made"};
}

}  // namespace sandboxd::ctl
