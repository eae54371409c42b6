#include "fs/host_etc.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "fs/kernel.hpp"
#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::fs {

namespace {

constexpr std::size_t kMaxFile = 4U << 20U;
constexpr std::size_t kMaxTotal = 64U << 20U;
constexpr std::size_t kMaxNodes = 20'000;
constexpr int kMaxDepth = 16;

// Not here on purpose, because people put passwords and tokens into them: environment, profile.d,
// pip.conf, npmrc, gitconfig, wgetrc, curlrc, php, apt, and anything of a service.
constexpr std::array<std::string_view, 45> kNames{"OpenCL",
                                                  "R",
                                                  "alternatives",
                                                  "bash.bashrc",
                                                  "ca-certificates",
                                                  "ca-certificates.conf",
                                                  "crypto-policies",
                                                  "debian_version",
                                                  "ethertypes",
                                                  "fedora-release",
                                                  "fonts",
                                                  "ghostscript",
                                                  "glvnd",
                                                  "gtk-3.0",
                                                  "inputrc",
                                                  "ld.so.cache",
                                                  "ld.so.conf",
                                                  "ld.so.conf.d",
                                                  "locale.alias",
                                                  "locale.conf",
                                                  "localtime",
                                                  "lsb-release",
                                                  "magic",
                                                  "magic.mime",
                                                  "mailcap",
                                                  "matplotlibrc",
                                                  "mime.types",
                                                  "nanorc",
                                                  "networks",
                                                  "nodejs",
                                                  "openal",
                                                  "papersize",
                                                  "perl",
                                                  "pki",
                                                  "profile",
                                                  "protocols",
                                                  "redhat-release",
                                                  "rpc",
                                                  "services",
                                                  "sgml",
                                                  "shells",
                                                  "ssl",
                                                  "terminfo",
                                                  "timezone",
                                                  "xml"};
constexpr std::array<std::string_view, 5> kPrefixes{"ImageMagick-", "java-", "python3", "vim",
                                                    "vulkan"};

struct Source {
    int dir;
    const char* name;
    std::string target;  // in the tree
    uid_t owner;
};

class Copier {
public:
    explicit Copier(Tree& tree) : tree_{tree} {}
    Result<void> add(const Source& source, int depth);

private:
    Result<void> add_link(const Source& source);
    Result<void> add_file(const Source& source);
    Result<void> add_children(const Source& source, int depth);
    Result<void> put(const std::string& path, Node node);

    Tree& tree_;
    std::size_t bytes_ = 0;
};

// What went away or changed its kind since it was listed is simply not there.
bool is_gone(const Error& error) {
    return error.is_errno(ENOENT) || error.is_errno(ELOOP) || error.is_errno(ENOTDIR);
}

bool unchanged(const struct stat& a, const struct stat& b) {
    return a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
           a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

Result<void> Copier::put(const std::string& path, Node node) {
    bytes_ += node.content.size();
    if (bytes_ > kMaxTotal || tree_.size() >= kMaxNodes) {
        return Error{Errc::payload_too_large, "copy /etc", "too much at " + path};
    }
    tree_[path] = std::move(node);
    return {};
}

Result<void> Copier::add_link(const Source& source) {
    auto target = kernel::readlinkat(source.dir, source.name);
    if (!target && (is_gone(target.error()) || target.error().is_errno(EINVAL))) return {};
    if (!target) return std::move(target).error();
    return put(source.target, Node{NodeKind::link, 0777, source.owner, *std::move(target)});
}

Result<void> Copier::add_file(const Source& source) {
    constexpr int kAttempts = 3;
    // O_NONBLOCK: a FIFO that took the file's place must not hold us up.
    auto fd = sys::openat(source.dir, source.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (!fd && is_gone(fd.error())) return {};
    if (!fd) return std::move(fd).error();
    for (int attempt = 1;; ++attempt) {
        SBX_TRY(const struct stat before, sys::fstat(fd->get()));
        if (!S_ISREG(before.st_mode) || (before.st_mode & S_IROTH) == 0) return {};
        if (before.st_size > static_cast<off_t>(kMaxFile)) {
            log::debug("left out of the host template: too large", {{"file", source.target}});
            return {};
        }
        // One byte more than it has: what grew meanwhile shows.
        std::string content(static_cast<std::size_t>(before.st_size) + 1, '\0');
        SBX_TRY(const std::size_t size,
                kernel::pread(fd->get(), std::as_writable_bytes(std::span{content}), 0));
        SBX_TRY(const struct stat after, sys::fstat(fd->get()));
        if (!unchanged(before, after) && attempt < kAttempts) continue;
        content.resize(size);
        return put(source.target,
                   Node{NodeKind::file, after.st_mode & 0755U, source.owner, std::move(content)});
    }
}

Result<void> Copier::add_children(const Source& source, int depth) {
    auto folder = sys::openat(source.dir, source.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!folder && is_gone(folder.error())) return {};
    if (!folder) return std::move(folder).error();
    SBX_TRY(const struct stat st, sys::fstat(folder->get()));
    constexpr mode_t kOpenToAll = S_IROTH | S_IXOTH;
    if ((st.st_mode & kOpenToAll) != kOpenToAll || depth >= kMaxDepth) return {};
    if (!tree_.contains(source.target)) {
        SBX_CHECK(put(source.target, Node{NodeKind::folder, 0755, source.owner, {}}));
    }
    SBX_TRY(const std::vector<std::string> names, kernel::list_dir(folder->get()));
    for (const std::string& name : names) {
        SBX_CHECK(add(Source{folder->get(), name.c_str(), source.target + "/" + name, source.owner},
                      depth + 1));
    }
    return {};
}

Result<void> Copier::add(const Source& source, int depth) {
    if (is_secret_name(source.name)) return {};
    const auto st = sys::statat(source.dir, source.name, AT_SYMLINK_NOFOLLOW);
    if (!st && is_gone(st.error())) return {};
    if (!st) return st.error();
    if (S_ISLNK(st->st_mode)) return add_link(source);
    if (S_ISREG(st->st_mode)) return add_file(source);
    if (S_ISDIR(st->st_mode)) return add_children(source, depth);
    return {};  // a socket, FIFO or device is nobody's configuration
}

}  // namespace

bool is_wanted_etc_name(std::string_view name) noexcept {
    return std::find(kNames.begin(), kNames.end(), name) != kNames.end() ||
           std::any_of(kPrefixes.begin(), kPrefixes.end(),
                       [&](std::string_view prefix) { return name.starts_with(prefix); });
}

bool is_secret_name(std::string_view name) noexcept {
    constexpr std::array<std::string_view, 4> kParts{"password", "secret", "credential", "shadow"};
    constexpr std::array<std::string_view, 5> kEndings{".key", ".p12", ".pfx", ".kdb", ".site"};
    return name == "private" ||
           std::any_of(kParts.begin(), kParts.end(),
                       [&](std::string_view part) { return name.find(part) != name.npos; }) ||
           std::any_of(kEndings.begin(), kEndings.end(),
                       [&](std::string_view ending) { return name.ends_with(ending); });
}

Result<void> add_host_etc(int etc, Tree& tree) {
    Copier copier{tree};
    SBX_TRY(const std::vector<std::string> names, kernel::list_dir(etc));
    for (const std::string& name : names) {
        if (!is_wanted_etc_name(name)) continue;
        auto added = copier.add(Source{etc, name.c_str(), "etc/" + name, 0}, 0);
        if (!added) return std::move(added).error().with("copying /etc/" + name);
    }
    return {};
}

Result<void> add_folder(int etc, const char* name, const std::string& target, uid_t owner,
                        Tree& tree) {
    return Copier{tree}.add(Source{etc, name, target, owner}, 0);
}

}  // namespace sandboxd::fs
