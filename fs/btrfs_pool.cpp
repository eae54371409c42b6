#include "fs/btrfs_pool.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <mutex>

#include "fs/btrfs.hpp"
#include "fs/kernel.hpp"
#include "fs/pool_image.hpp"
#include "fs/volume_layout.hpp"
#include "fs/volume_name.hpp"
#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::fs {

namespace {

constexpr ino_t kSubvolumeInode = 256;  // of the root folder of each subvolume

// Destroys a volume that could not be completed.
class Unfinished {
public:
    Unfinished(int root, const std::string& name) : root_{root}, name_{name} {}
    Unfinished(const Unfinished&) = delete;
    Unfinished& operator=(const Unfinished&) = delete;
    ~Unfinished() {
        if (armed_) (void)btrfs::destroy_subvolume(root_, name_);  // the first failure is told
    }
    void keep() noexcept { armed_ = false; }

private:
    int root_;
    const std::string& name_;
    bool armed_ = true;
};

class BtrfsPool final : public Pool {
public:
    explicit BtrfsPool(MountedBtrfs mounted) : mounted_{std::move(mounted)} {}

    Result<void> adopt();

    PoolKind kind() const noexcept override { return kind_; }
    Result<PoolStatus> status() override;
    Result<std::string> create(const std::string& name, std::uint64_t bytes) override;
    Result<void> set_limit(const std::string& name, std::uint64_t bytes) override;
    Result<std::uint64_t> used_bytes(const std::string& name) override;
    Result<std::string> snapshot(const std::string& from, const std::string& to,
                                 std::uint64_t bytes) override;
    Result<std::vector<std::string>> list() override;
    Result<void> remove(const std::string& name) override;
    Result<void> close() override;

private:
    std::string path_of(const std::string& name) const { return mounted_.point + "/" + name; }
    Result<void> check_new(const std::string& name, std::uint64_t bytes);
    Result<std::uint64_t> id_of(const std::string& name);
    Result<void> clear_work_folder(const std::string& name, std::uint64_t id, std::uint64_t bytes);
    void reap_qgroups();

    MountedBtrfs mounted_;
    Fd root_;
    PoolKind kind_ = PoolKind::btrfs_simple_quota;
    std::string uuid_;
    bool live_counts_ = false;

    std::mutex mutex_;  // of what follows; never held over a slow call
    std::map<std::string, std::uint64_t> ids_;
    std::vector<std::uint64_t> stale_;  // qgroups of removed volumes that still count something
};

Result<void> BtrfsPool::adopt() {
    SBX_TRY(root_, sys::open(mounted_.point, O_RDONLY | O_DIRECTORY));
    SBX_CHECK(kernel::fchmod(root_.get(), 0700));
    SBX_CHECK(sys::chownat(root_.get(), "", 0, 0));
    SBX_TRY(kind_, btrfs::enable_quota(root_.get()));
    SBX_TRY(uuid_, btrfs::uuid(root_.get()));
    live_counts_ = sys::exists("/sys/fs/btrfs/" + uuid_ + "/qgroups");
    if (!live_counts_) {
        log::warn("disk usage is up to a few seconds old: /sys/fs/btrfs is not there",
                  {{"pool", mounted_.point}});
    }
    SBX_TRY(const std::vector<std::string> names, list());
    for (const std::string& name : names) {
        SBX_TRY([[maybe_unused]] const std::uint64_t id, id_of(name));  // for the calls to come
    }
    // What an earlier run could not remove yet. A stale one must go before its id is used again:
    // the file system hands ids out anew after a mount.
    SBX_TRY(const std::vector<std::uint64_t> groups, btrfs::qgroups(root_.get()));
    for (const std::uint64_t id : groups) {
        SBX_TRY(const bool alive, btrfs::subvolume_exists(root_.get(), id));
        if (!alive) stale_.push_back(id);
    }
    reap_qgroups();
    return {};
}

Result<PoolStatus> BtrfsPool::status() {
    SBX_TRY(const kernel::Space pool, kernel::space(mounted_.point));
    PoolStatus status{kind_, pool.total_bytes, pool.free_bytes};
    if (mounted_.host_dir.empty()) return status;
    SBX_TRY(const kernel::Space host, kernel::space(mounted_.host_dir));
    const std::uint64_t room =
        host.free_bytes > kHostReserveBytes ? host.free_bytes - kHostReserveBytes : 0;
    status.free_bytes = std::min(status.free_bytes, room);
    return status;
}

Result<void> BtrfsPool::check_new(const std::string& name, std::uint64_t bytes) {
    SBX_CHECK(check_volume_name(name));
    SBX_CHECK(check_volume_bytes(bytes));
    SBX_TRY(const PoolStatus now, status());
    // A sixteenth stays free for what the running sandboxes still write, and for the metadata
    // without which not even a deletion works.
    const std::uint64_t reserve = std::min(kHostReserveBytes, now.total_bytes / 16);
    if (now.free_bytes > reserve) return {};
    return Error{Errc::disk_full, "create volume",
                 "the pool has " + std::to_string(now.free_bytes) + " bytes left on its disk, " +
                     std::to_string(reserve) + " are kept for running sandboxes"}
        .fact("free_bytes", static_cast<std::int64_t>(now.free_bytes))
        .fact("needed_bytes", static_cast<std::int64_t>(reserve));
}

Result<std::uint64_t> BtrfsPool::id_of(const std::string& name) {
    SBX_CHECK(check_volume_name(name));
    {
        const std::lock_guard lock{mutex_};
        if (const auto found = ids_.find(name); found != ids_.end()) return found->second;
    }
    auto volume = sys::openat(root_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!volume && volume.error().is_errno(ENOENT)) {
        return Error{Errc::not_found, "volume", name};
    }
    if (!volume) return std::move(volume).error();
    SBX_TRY(const std::uint64_t id, btrfs::subvolume_id(volume->get()));
    const std::lock_guard lock{mutex_};
    ids_[name] = id;
    return id;
}

Result<std::string> BtrfsPool::create(const std::string& name, std::uint64_t bytes) {
    SBX_CHECK(check_new(name, bytes));
    auto created = btrfs::create_subvolume(root_.get(), name, bytes);
    if (!created && created.error().is_errno(EEXIST)) {
        return Error{Errc::conflict, "create volume", name + " exists"};
    }
    if (!created) return std::move(created).error().with("creating volume " + name);
    Unfinished unfinished{root_.get(), name};
    SBX_CHECK(lay_out_volume(path_of(name)));
    SBX_TRY([[maybe_unused]] const std::uint64_t id, id_of(name));  // for the calls to come
    unfinished.keep();
    return path_of(name);
}

Result<void> BtrfsPool::set_limit(const std::string& name, std::uint64_t bytes) {
    SBX_CHECK(check_volume_bytes(bytes));
    SBX_TRY(const std::uint64_t id, id_of(name));
    auto limited = btrfs::set_limit(root_.get(), id, bytes);
    if (!limited) return std::move(limited).error().with("limiting volume " + name);
    return {};
}

Result<std::uint64_t> BtrfsPool::used_bytes(const std::string& name) {
    SBX_TRY(const std::uint64_t id, id_of(name));
    return live_counts_ ? btrfs::live_usage(uuid_, id) : btrfs::committed_usage(root_.get(), id);
}

// Ordinary qgroups give the copy its source's limit instead of its own, and count what it shares: a
// full volume's copy is full, and needs room for the folder.
Result<void> BtrfsPool::clear_work_folder(const std::string& name, std::uint64_t id,
                                          std::uint64_t bytes) {
    SBX_TRY(const bool clean, has_clean_work_folder(path_of(name)));
    if (clean) return btrfs::set_limit(root_.get(), id, bytes);
    constexpr std::uint64_t kRoom = 16 * kMiB;
    SBX_TRY(const std::uint64_t used, used_bytes(name));
    SBX_CHECK(btrfs::set_limit(root_.get(), id, std::max(bytes, used) + kRoom));
    SBX_CHECK(reset_work_folder(path_of(name)));
    return btrfs::set_limit(root_.get(), id, bytes);
}

Result<std::string> BtrfsPool::snapshot(const std::string& from, const std::string& to,
                                        std::uint64_t bytes) {
    SBX_CHECK(check_volume_name(from));
    SBX_CHECK(check_new(to, bytes));
    auto source = sys::openat(root_.get(), from.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!source && source.error().is_errno(ENOENT)) return Error{Errc::not_found, "volume", from};
    if (!source) return std::move(source).error();
    auto copied = btrfs::snapshot(root_.get(), source->get(), to, bytes);
    if (!copied && copied.error().is_errno(EEXIST)) {
        return Error{Errc::conflict, "snapshot volume", to + " exists"};
    }
    if (!copied) return std::move(copied).error().with("copying volume " + from + " to " + to);
    Unfinished unfinished{root_.get(), to};
    SBX_TRY(const std::uint64_t id, id_of(to));
    SBX_CHECK(clear_work_folder(to, id, bytes));
    unfinished.keep();
    return path_of(to);
}

Result<std::vector<std::string>> BtrfsPool::list() {
    SBX_TRY(const std::vector<std::string> names, kernel::list_dir(root_.get()));
    std::vector<std::string> volumes;
    for (const std::string& name : names) {
        if (!check_volume_name(name)) continue;
        const auto st = sys::statat(root_.get(), name.c_str(), AT_SYMLINK_NOFOLLOW);
        if (st && S_ISDIR(st->st_mode) && st->st_ino == kSubvolumeInode) volumes.push_back(name);
    }
    return volumes;
}

Result<void> BtrfsPool::remove(const std::string& name) {
    const auto id = id_of(name);
    if (!id && !id.error().is(Errc::not_found)) return id.error();
    if (id) {
        const auto destroyed = btrfs::destroy_subvolume(root_.get(), name);
        if (!destroyed && !destroyed.error().is_errno(ENOENT)) {
            return Error{destroyed.error()}.with("removing volume " + name);
        }
        const std::lock_guard lock{mutex_};
        if (ids_.erase(name) != 0) stale_.push_back(*id);
    }
    reap_qgroups();
    return {};
}

// Kernels from 6.11 on remove the qgroup of a cleaned subvolume, unless it still counts something:
// under simple quotas the extents that a snapshot shares stay with the volume that wrote them.
// Those, and all on older kernels, go here once they are empty.
void BtrfsPool::reap_qgroups() {
    std::vector<std::uint64_t> waiting;
    {
        const std::lock_guard lock{mutex_};
        waiting.swap(stale_);
    }
    std::erase_if(waiting, [&](std::uint64_t id) {
        const auto alive = btrfs::subvolume_exists(root_.get(), id);
        if (!alive || *alive) return false;  // the cleaner is not done with it
        const auto gone = btrfs::remove_qgroup(root_.get(), id);
        if (!gone) log::debug("ignoring a qgroup that can't be removed", {{"error", gone.error()}});
        return gone && *gone;
    });
    const std::lock_guard lock{mutex_};
    stale_.insert(stale_.end(), waiting.begin(), waiting.end());
}

Result<void> BtrfsPool::close() {
    root_.reset();
    auto unmounted = sys::umount(mounted_.point.c_str());
    if (!unmounted) {
        SBX_TRY(root_, sys::open(mounted_.point, O_RDONLY | O_DIRECTORY));
        if (!unmounted.error().is_errno(EBUSY)) return std::move(unmounted).error();
        return Error{Errc::conflict, "close pool",
                     mounted_.point + " is still in use: stop its sandboxes first"};
    }
    // The loop device frees itself with the mount. A folder that stays does no harm.
    (void)sys::unlinkat(AT_FDCWD, mounted_.point.c_str(), AT_REMOVEDIR);
    mounted_.image.reset();
    return {};
}

}  // namespace

Result<std::unique_ptr<Pool>> open_btrfs_pool(MountedBtrfs mounted) {
    auto pool = std::make_unique<BtrfsPool>(std::move(mounted));
    SBX_CHECK(pool->adopt());
    return std::unique_ptr<Pool>{std::move(pool)};
}

}  // namespace sandboxd::fs
