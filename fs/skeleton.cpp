#include "fs/skeleton.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>

#include "fs/host_etc.hpp"
#include "fs/kernel.hpp"
#include "isolation/launch_plan.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::fs {

namespace {

constexpr uid_t kUser = isolation::kUserId;

struct Folder {
    const char* path;
    mode_t mode;
    uid_t owner;
};

constexpr std::array<Folder, 27> kFolders{{
    {"", 0755, 0},
    {"dev", 0755, 0},
    {"etc", 0755, 0},
    {"etc/chromium.d", 0755, 0},
    {"etc/pam.d", 0755, 0},
    {"home", 0755, 0},
    {"home/user", 0755, kUser},
    {"media", 0755, 0},
    {"mnt", 0755, 0},
    {"opt", 0755, 0},
    {"proc", 0755, 0},
    {"root", 0700, 0},
    {"run", 0755, 0},
    {"run/lock", 01777, 0},
    {"run/user", 0755, 0},
    {"run/user/1000", 0700, kUser},
    {"srv", 0755, 0},
    {"sys", 0755, 0},
    {"tmp", 01777, 0},
    {"usr", 0755, 0},
    {"var", 0755, 0},
    {"var/cache", 0755, 0},
    {"var/lib", 0755, 0},
    {"var/log", 0755, 0},
    {"var/spool", 0755, 0},
    {"var/tmp", 01777, 0},
    {"var/mail", 0755, 0},
}};

struct Text {
    const char* path;
    const char* content;
};

// Root becomes anybody, nobody becomes root. Not the host's: those name modules and accounts of the
// host, and a sandbox has no passwords to ask for.
constexpr const char* kSwitchUser =
    "auth sufficient pam_rootok.so\n"
    "auth required pam_deny.so\n"
    "account required pam_permit.so\n"
    "session required pam_permit.so\n";

// No "x" for a password: there is no shadow file, and "*" matches none.
constexpr std::array<Text, 11> kTexts{{
    {"etc/passwd",
     "root:*:0:0:root:/root:/bin/bash\n"
     "daemon:*:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
     "user:*:1000:1000:user:/home/user:/bin/bash\n"
     "nobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
    {"etc/group",
     "root:*:0:\n"
     "daemon:*:1:\n"
     "tty:*:5:\n"
     "user:*:1000:\n"
     "nogroup:*:65534:\n"},
    {"etc/hosts",
     "127.0.0.1\tlocalhost\n"
     "::1\tlocalhost ip6-localhost ip6-loopback\n"},
    {"etc/resolv.conf", "# Name servers come with the sandbox's network policy.\n"},
    {"etc/nsswitch.conf",
     "passwd: files\n"
     "group: files\n"
     "shadow: files\n"
     "hosts: files dns\n"
     "networks: files\n"
     "protocols: files\n"
     "services: files\n"
     "ethers: files\n"
     "rpc: files\n"},
    {"etc/pam.d/su", kSwitchUser},
    {"etc/pam.d/su-l", kSwitchUser},
    {"etc/pam.d/runuser", kSwitchUser},
    {"etc/pam.d/runuser-l", kSwitchUser},
    {"etc/pam.d/other",
     "auth required pam_deny.so\n"
     "account required pam_deny.so\n"
     "password required pam_deny.so\n"
     "session required pam_deny.so\n"},
    // Debian's wrapper of chromium sources what is in here, and ends when that is nothing.
    {"etc/chromium.d/README",
     "Flags for chromium. Its own sandbox can't be made inside this one, which takes its place: "
     "--no-sandbox.\n"},
}};

struct Link {
    const char* path;
    const char* target;
};

constexpr std::array<Link, 4> kLinks{{
    {"etc/mtab", "../proc/self/mounts"},
    {"etc/os-release", "../usr/lib/os-release"},
    {"var/lock", "../run/lock"},
    {"var/run", "../run"},
}};

Error not_merged(const std::string& path) {
    return Error{Errc::incompatible, "build template host",
                 path +
                     " is not a link into /usr; install the package usrmerge, or use a template "
                     "that does not take the host's /usr"};
}

// The link as a relative one, whatever way the host wrote it.
Result<void> add_merged_link(int root, const std::string& name, Tree& tree) {
    const bool needed = name == "bin" || name == "sbin" || name == "lib";
    const auto st = sys::statat(root, name.c_str(), AT_SYMLINK_NOFOLLOW);
    if (!st && st.error().is_errno(ENOENT)) {
        if (needed) return not_merged("/" + name);
        return {};
    }
    if (!st) return st.error();
    if (!S_ISLNK(st->st_mode)) return not_merged("/" + name);
    SBX_TRY(std::string target, kernel::readlinkat(root, name.c_str()));
    if (target.starts_with('/')) target.erase(0, 1);
    if (!target.starts_with("usr/") || target.find("..") != std::string::npos) {
        return not_merged("/" + name);
    }
    tree[name] = Node{NodeKind::link, 0777, 0, std::move(target)};
    return {};
}

}  // namespace

Result<Tree> host_skeleton(const std::string& host_root) {
    Tree tree;
    SBX_TRY(const Fd root, sys::open(host_root, O_RDONLY | O_DIRECTORY));
    SBX_TRY(const Fd etc, sys::openat(root.get(), "etc", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    // The host's files first: ours win where both have one.
    SBX_CHECK(add_host_etc(etc.get(), tree));
    SBX_CHECK(add_folder(etc.get(), "skel", "home/user", kUser, tree));
    for (const Folder& folder : kFolders) {
        tree[folder.path] = Node{NodeKind::folder, folder.mode, folder.owner, {}};
    }
    for (const Text& text : kTexts) tree[text.path] = Node{NodeKind::file, 0644, 0, text.content};
    for (const Link& link : kLinks) tree[link.path] = Node{NodeKind::link, 0777, 0, link.target};
    for (const char* name : {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}) {
        SBX_CHECK(add_merged_link(root.get(), name, tree));
    }
    return tree;
}

}  // namespace sandboxd::fs
