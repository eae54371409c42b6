#include "isolation/jail_mounts.hpp"

#include <fcntl.h>
#include <linux/mount.h>

#include <array>
#include <cerrno>
#include <span>
#include <string>
#include <utility>

#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::isolation {

namespace {

Result<Fd> clone_mount(const MountSource& source, int userns) {
    SBX_TRY(Fd tree, sys::clone_tree(AT_FDCWD, source.path.c_str()));
    std::uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    if (source.read_only) attributes |= MOUNT_ATTR_RDONLY;
    // One call for both: no moment in which the clone is id-mapped but writable.
    auto mapped = sys::mount_setattr(tree.get(), attributes, 0, userns);
    if (mapped) return tree;
    // EINVAL is also how a file system without FS_ALLOW_IDMAP answers.
    if (!mapped.error().is_errno(EINVAL)) return std::move(mapped).error().with(source.path);
    if (source.role == FdRole::bind_mount && source.read_only) {
        log::debug("bind is not id-mapped: its file system can't", {{"path", source.path}});
        SBX_CHECK(sys::mount_setattr(tree.get(), attributes, 0));
        return tree;
    }
    return Error{Errc::incompatible, "mount_setattr",
                 source.path +
                     ": its file system can't be id-mapped by this kernel; keep it on btrfs, ext4 "
                     "or xfs (tmpfs from 6.3 on)"};
}

Result<bool> map_into(const Fd& mount, int userns) {
    auto mapped = sys::mount_setattr(mount.get(), 0, 0, userns);
    if (mapped) return true;
    if (mapped.error().is_errno(EINVAL)) return false;
    return std::move(mapped).error();
}

}  // namespace

Result<void> add_tmpfs(JailMounts& mounts, int userns, std::uint64_t shm_bytes,
                       std::uint32_t shm_inodes) {
    constexpr unsigned kAttributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    using Options = std::array<std::pair<const char*, std::string>, 3>;
    const Options stage{{{"size", "1m"}, {"nr_inodes", "2k"}, {"mode", "0700"}}};
    SBX_TRY(Fd staged, sys::new_tmpfs(stage, kAttributes));
    SBX_TRY(const bool can, map_into(staged, userns));
    if (!can) return {};
    const Options shared{{{"size", std::to_string(shm_bytes)},
                          {"nr_inodes", std::to_string(shm_inodes)},
                          {"mode", "1777"}}};
    SBX_TRY(mounts.shm, sys::new_tmpfs(shared, kAttributes));
    SBX_TRY(const bool too, map_into(mounts.shm, userns));
    if (!too) return Error{Errc::internal, "mount_setattr", "id-maps one tmpfs and not another"};
    mounts.stage = std::move(staged);
    return {};
}

Result<HiddenProgram> hide_program(int program) {
    const std::array<std::pair<const char*, std::string>, 2> options{
        {{"nr_inodes", "2"}, {"mode", "0755"}}};
    HiddenProgram out;
    SBX_TRY(out.mount, sys::new_tmpfs(options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
    SBX_TRY(const Fd from, sys::open("/proc/self/fd/" + std::to_string(program), O_RDONLY));
    {
        SBX_TRY(const Fd to, sys::openat(out.mount.get(), "program", O_WRONLY | O_CREAT | O_EXCL, 0755));
        std::array<std::byte, 65536> buffer;
        for (;;) {
            SBX_TRY(const std::size_t n, sys::read_some(from.get(), buffer));
            if (n == 0) break;
            SBX_CHECK(sys::write_all(to.get(), std::span{buffer}.first(n)));
        }
        SBX_CHECK(sys::chmod("/proc/self/fd/" + std::to_string(to.get()), 0755));
    }
    SBX_TRY(out.file, sys::openat(out.mount.get(), "program", O_PATH));
    if (clone_program(out.file.get())) return out;
    SBX_TRY(out.file, sys::dup(program));
    return out;
}

Result<Fd> clone_program(int file) {
    SBX_TRY(Fd tree, sys::clone_tree(file, ""));
    SBX_CHECK(sys::mount_setattr(tree.get(), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY, 0));
    return tree;
}

Result<std::vector<Fd>> clone_mounts(const MountPlan& plan, int userns) {
    std::vector<Fd> out;
    out.reserve(plan.sources.size());
    for (const MountSource& source : plan.sources) {
        SBX_TRY(Fd tree, clone_mount(source, userns));
        out.push_back(std::move(tree));
    }
    return out;
}

}  // namespace sandboxd::isolation
