#include "fs/tree.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include <array>

#include "fs/kernel.hpp"
#include "sandboxd/core/assert.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::fs {

namespace {

constexpr mode_t kModeBits = 07777;

// Length before text: no two trees serialise alike.
void append(std::string& out, std::string_view text) {
    out += std::to_string(text.size());
    out += ':';
    out += text;
}

Result<void> write_node(int dir, const std::string& path, const Node& node) {
    const char* name = path.empty() ? "." : path.c_str();
    if (node.kind == NodeKind::link) {
        SBX_CHECK(kernel::symlinkat(node.content.c_str(), dir, name));
        return sys::chownat(dir, name, node.owner, node.owner);
    }
    if (node.kind == NodeKind::folder && !path.empty()) SBX_CHECK(sys::mkdirat(dir, name, 0700));
    const int flags = node.kind == NodeKind::folder ? O_RDONLY | O_DIRECTORY | O_NOFOLLOW
                                                    : O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
    SBX_TRY(const Fd fd, sys::openat(dir, name, flags, 0600));
    SBX_CHECK(sys::write_all(fd.get(), std::as_bytes(std::span{node.content})));
    // The owner first: chown takes setuid and the like away.
    SBX_CHECK(sys::chownat(fd.get(), "", node.owner, node.owner));
    return kernel::fchmod(fd.get(), node.mode);
}

Result<Node> read_node(int dir, const char* name, std::size_t limit) {
    SBX_TRY(const struct stat st, sys::statat(dir, name, AT_SYMLINK_NOFOLLOW));
    Node node{NodeKind::folder, st.st_mode & kModeBits, st.st_uid, {}};
    if (S_ISLNK(st.st_mode)) {
        node.kind = NodeKind::link;
        SBX_TRY(node.content, kernel::readlinkat(dir, name));
    } else if (S_ISREG(st.st_mode)) {
        node.kind = NodeKind::file;
        SBX_TRY(node.content, sys::read_file_at(dir, name, limit));
    } else if (!S_ISDIR(st.st_mode)) {
        return Error{Errc::conflict, "read tree",
                     std::string{name} + " is of no kind that we write"};
    }
    if (st.st_gid != st.st_uid) node.owner = static_cast<uid_t>(-1);  // equal to none of ours
    return node;
}

bool same(const Node& found, const Node& wanted) {
    return found.kind == wanted.kind && found.owner == wanted.owner &&
           found.content == wanted.content &&
           (wanted.kind == NodeKind::link || found.mode == wanted.mode);
}

// Counts what is below a folder and compares each node; false at the first difference.
Result<bool> compare(int dir, const std::string& prefix, const Tree& tree, std::size_t& seen) {
    SBX_TRY(const std::vector<std::string> names, kernel::list_dir(dir));
    for (const std::string& name : names) {
        const std::string path = prefix + name;
        const auto wanted = tree.find(path);
        if (wanted == tree.end()) return false;
        const auto found = read_node(dir, name.c_str(), wanted->second.content.size());
        if (!found && found.error().is(Errc::payload_too_large)) return false;
        if (!found && found.error().is(Errc::conflict)) return false;
        if (!found) return found.error();
        if (!same(*found, wanted->second)) return false;
        ++seen;
        if (found->kind != NodeKind::folder) continue;
        SBX_TRY(const Fd folder,
                sys::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
        SBX_TRY(const bool equal, compare(folder.get(), path + "/", tree, seen));
        if (!equal) return false;
    }
    return true;
}

}  // namespace

std::string fingerprint(const Tree& tree) {
    std::string text;
    for (const auto& [path, node] : tree) {
        append(text, path);
        append(text, std::to_string(static_cast<int>(node.kind)));
        append(text, std::to_string(node.mode));
        append(text, std::to_string(node.owner));
        append(text, node.content);
    }
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    const int ok =
        ::EVP_Digest(text.data(), text.size(), digest.data(), nullptr, ::EVP_sha256(), nullptr);
    SBX_ASSERT(ok == 1);
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string out;
    for (std::size_t i = 0; i < 16; ++i) {
        out += kDigits[digest[i] >> 4U];
        out += kDigits[digest[i] & 15U];
    }
    return out;
}

Result<void> write_tree(const Tree& tree, const std::string& path) {
    SBX_CHECK(sys::mkdirat(AT_FDCWD, path.c_str(), 0700));
    SBX_TRY(const Fd root, sys::open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    for (const auto& [name, node] : tree) {
        auto written = write_node(root.get(), name, node);
        if (!written) return std::move(written).error().with("writing " + path);
    }
    return {};
}

Result<bool> holds_tree(const std::string& path, const Tree& tree) {
    SBX_TRY(const Fd root, sys::open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    const auto wanted = tree.find("");
    SBX_ASSERT(wanted != tree.end());
    SBX_TRY(const Node found, read_node(root.get(), ".", 0));
    if (!same(found, wanted->second)) return false;
    std::size_t seen = 1;
    SBX_TRY(const bool equal, compare(root.get(), "", tree, seen));
    return equal && seen == tree.size();
}

}  // namespace sandboxd::fs
