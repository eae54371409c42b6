#include "fs/kernel.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::fs::kernel {

namespace {

// Runs `call` until it is not interrupted; the error of any other failure.
template <class Call>
auto checked(Call call, const char* operation, const std::string& detail,
             boost::source_location where = BOOST_CURRENT_LOCATION) -> Result<decltype(call())> {
    for (;;) {
        const auto rc = call();
        if (rc >= 0) return rc;
        Error error = errno_error(operation, detail, where);
        if (!error.is_errno(EINTR)) return error;
    }
}

template <class Call>
Result<void> done(Call call, const char* operation, const std::string& detail = {},
                  boost::source_location where = BOOST_CURRENT_LOCATION) {
    auto result = checked(call, operation, detail, where);
    if (!result) return std::move(result).error();
    return {};
}

struct CloseDir {
    void operator()(DIR* dir) const noexcept { ::closedir(dir); }
};

}  // namespace

Result<int> ioctl(int fd, unsigned long request, void* argument, const char* name) {
    return checked([&] { return ::ioctl(fd, request, argument); }, "ioctl", name);
}

Result<int> ioctl(int fd, unsigned long request, unsigned long value, const char* name) {
    return checked([&] { return ::ioctl(fd, request, value); }, "ioctl", name);
}

Result<bool> try_lock(int fd) {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    const auto taken = checked([&] { return ::fcntl(fd, F_OFD_SETLK, &lock); }, "lock", {});
    if (taken) return true;
    if (taken.error().is_errno(EAGAIN) || taken.error().is_errno(EACCES)) return false;
    return taken.error();
}

Result<void> ftruncate(int fd, std::uint64_t size) {
    return done([&] { return ::ftruncate(fd, static_cast<off_t>(size)); }, "truncate");
}

Result<void> fsync(int fd) {
    return done([&] { return ::fsync(fd); }, "fsync");
}

Result<void> syncfs(int fd) {
    return done([&] { return ::syncfs(fd); }, "syncfs");
}

Result<void> fchmod(int fd, mode_t mode) {
    return done([&] { return ::fchmod(fd, mode); }, "chmod");
}

Result<std::size_t> pread(int fd, std::span<std::byte> out, std::uint64_t offset) {
    std::size_t got = 0;
    while (got < out.size()) {
        SBX_TRY(const ssize_t n, checked(
                                     [&] {
                                         return ::pread(fd, out.data() + got, out.size() - got,
                                                        static_cast<off_t>(offset + got));
                                     },
                                     "read", {}));
        if (n == 0) break;
        got += static_cast<std::size_t>(n);
    }
    return got;
}

Result<Space> space(const std::string& path) {
    struct statfs st {};
    SBX_CHECK(done([&] { return ::statfs(path.c_str(), &st); }, "statfs", path));
    const auto block = static_cast<std::uint64_t>(st.f_frsize != 0 ? st.f_frsize : st.f_bsize);
    return Space{st.f_blocks * block, st.f_bavail * block, (st.f_blocks - st.f_bfree) * block,
                 static_cast<std::uint64_t>(static_cast<unsigned long>(st.f_type))};
}

Result<std::vector<std::string>> list_dir(int dir) {
    // A descriptor of its own: the caller's keeps its position.
    SBX_TRY(Fd copy, sys::openat(dir, ".", O_RDONLY | O_DIRECTORY));
    std::unique_ptr<DIR, CloseDir> stream{::fdopendir(copy.get())};
    if (!stream) return errno_error("fdopendir");
    (void)std::move(copy).release();  // the stream owns it
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(stream.get())) {
        const std::string_view name{static_cast<const char*>(entry->d_name)};
        if (name != "." && name != "..") names.emplace_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
}

Result<std::vector<std::string>> list_dir(const std::string& path) {
    SBX_TRY(const Fd dir, sys::open(path, O_RDONLY | O_DIRECTORY));
    return list_dir(dir.get());
}

Result<std::string> readlinkat(int dir, const char* path) {
    std::array<char, PATH_MAX> target{};
    SBX_TRY(const ssize_t n,
            checked([&] { return ::readlinkat(dir, path, target.data(), target.size()); },
                    "readlink", path));
    return std::string{target.data(), static_cast<std::size_t>(n)};
}

Result<void> symlinkat(const char* target, int dir, const char* path) {
    return done([&] { return ::symlinkat(target, dir, path); }, "symlink", path);
}

Result<std::string> real_path(const std::string& path) {
    std::array<char, PATH_MAX> resolved{};
    if (::realpath(path.c_str(), resolved.data()) == nullptr) return errno_error("resolve", path);
    return std::string{resolved.data()};
}

namespace {

Result<void> remove_at(int dir, const char* name, dev_t device) {
    const auto st = sys::statat(dir, name, AT_SYMLINK_NOFOLLOW);
    if (!st && st.error().is_errno(ENOENT)) return {};
    if (!st) return st.error();
    if (!S_ISDIR(st->st_mode)) return sys::unlinkat(dir, name);
    if (st->st_dev != device) {
        return Error{Errc::conflict, "remove", std::string{name} + " is a mount point"};
    }
    SBX_TRY(const Fd folder, sys::openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    SBX_TRY(const std::vector<std::string> names, list_dir(folder.get()));
    for (const std::string& child : names) {
        SBX_CHECK(remove_at(folder.get(), child.c_str(), device));
    }
    return sys::unlinkat(dir, name, AT_REMOVEDIR);
}

}  // namespace

Result<void> remove_tree(const std::string& path) {
    const auto slash = path.rfind('/');
    const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    auto dir = sys::open(parent, O_RDONLY | O_DIRECTORY);
    if (!dir && dir.error().is_errno(ENOENT)) return {};
    if (!dir) return std::move(dir).error();
    SBX_TRY(const struct stat st, sys::fstat(dir->get()));
    const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
    auto removed = remove_at(dir->get(), name.c_str(), st.st_dev);
    if (!removed) return std::move(removed).error().with("removing " + path);
    return {};
}

}  // namespace sandboxd::fs::kernel
