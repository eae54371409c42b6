#include "fs/btrfs.hpp"

#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "fs/kernel.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::fs::btrfs {

namespace {

// Of kernel 6.7; the distribution's headers are older.
constexpr std::uint64_t kQuotaEnableSimple = 4;
constexpr std::uint64_t kQgroupStatusSimple = 1ULL << 3;

struct Item {
    btrfs_ioctl_search_header header{};
    std::string data;
};

btrfs_ioctl_search_key key_of(std::uint64_t tree, std::uint64_t object, std::uint32_t type) {
    btrfs_ioctl_search_key key{};
    key.tree_id = tree;
    key.min_objectid = key.max_objectid = object;
    key.min_type = key.max_type = type;
    key.max_offset = UINT64_MAX;
    key.max_transid = UINT64_MAX;
    return key;
}

// One round of BTRFS_IOC_TREE_SEARCH: as many items as fit into its 4 KiB.
Result<std::vector<Item>> search(int fs, const btrfs_ioctl_search_key& key) {
    btrfs_ioctl_search_args args{};
    args.key = key;
    SBX_CHECK(kernel::ioctl(fs, BTRFS_IOC_TREE_SEARCH, &args, "BTRFS_IOC_TREE_SEARCH"));
    std::vector<Item> items(args.key.nr_items);
    const char* at = static_cast<const char*>(args.buf);
    for (Item& item : items) {
        std::memcpy(&item.header, at, sizeof item.header);
        at += sizeof item.header;
        item.data.assign(at, item.header.len);
        at += item.header.len;
    }
    return items;
}

template <class T>
std::optional<T> decode(const Item& item) {
    T value;
    if (item.data.size() < sizeof value) return std::nullopt;
    std::memcpy(&value, item.data.data(), sizeof value);
    return value;
}

// Flags of the quota tree; nothing while there is no such tree.
Result<std::optional<std::uint64_t>> quota_flags(int fs) {
    btrfs_ioctl_search_key key = key_of(BTRFS_QUOTA_TREE_OBJECTID, 0, BTRFS_QGROUP_STATUS_KEY);
    key.nr_items = 1;
    auto items = search(fs, key);
    if (!items && items.error().is_errno(ENOENT)) return std::optional<std::uint64_t>{};
    if (!items) return std::move(items).error();
    if (items->empty()) return std::optional<std::uint64_t>{};
    const auto status = decode<btrfs_qgroup_status_item>(items->front());
    if (!status) return Error{Errc::protocol_error, "read quota status", "item too short"};
    return std::optional<std::uint64_t>{le64toh(status->flags)};
}

Result<void> recount(int fs) {
    btrfs_ioctl_quota_rescan_args args{};
    const auto started = kernel::ioctl(fs, BTRFS_IOC_QUOTA_RESCAN, &args, "BTRFS_IOC_QUOTA_RESCAN");
    // EINPROGRESS: one is running, the mount goes on with it by itself.
    if (!started && !started.error().is_errno(EINPROGRESS)) return started.error();
    SBX_CHECK(kernel::ioctl(fs, BTRFS_IOC_QUOTA_RESCAN_WAIT, 0UL, "BTRFS_IOC_QUOTA_RESCAN_WAIT"));
    return {};
}

void copy_name(btrfs_ioctl_vol_args_v2& args, const std::string& name) {
    const std::size_t length = std::min<std::size_t>(name.size(), BTRFS_SUBVOL_NAME_MAX);
    std::memcpy(static_cast<void*>(args.name), name.data(), length);
}

btrfs_qgroup_inherit limited(std::uint64_t bytes) {
    btrfs_qgroup_inherit inherit{};
    inherit.flags = BTRFS_QGROUP_INHERIT_SET_LIMITS;
    inherit.lim.flags = BTRFS_QGROUP_LIMIT_MAX_RFER;
    inherit.lim.max_rfer = bytes;
    return inherit;
}

Result<std::uint64_t> read_count(const std::string& path) {
    SBX_TRY(const std::string text, sys::read_file(path, 64));
    std::uint64_t value = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc{}) {
        return Error{Errc::protocol_error, "read usage", path};
    }
    return value;
}

}  // namespace

std::optional<std::string> superblock_label(std::span<const std::byte> superblock) {
    // struct btrfs_super_block: magic at 64, label at 299 with 256 bytes.
    constexpr std::string_view kSuperMagic = "_BHRfS_M";
    constexpr std::size_t kMagicAt = 64;
    constexpr std::size_t kLabelAt = 299;
    constexpr std::size_t kLabelBytes = 256;
    if (superblock.size() < kLabelAt + kLabelBytes) return std::nullopt;
    const char* bytes = reinterpret_cast<const char*>(superblock.data());
    if (std::string_view{bytes + kMagicAt, kSuperMagic.size()} != kSuperMagic) return std::nullopt;
    const std::string_view field{bytes + kLabelAt, kLabelBytes};
    return std::string{field.substr(0, field.find('\0'))};
}

Result<PoolKind> enable_quota(int fs) {
    SBX_TRY(auto flags, quota_flags(fs));
    if (!flags || (*flags & BTRFS_QGROUP_STATUS_FLAG_ON) == 0) {
        btrfs_ioctl_quota_ctl_args args{};
        args.cmd = kQuotaEnableSimple;
        auto enabled = kernel::ioctl(fs, BTRFS_IOC_QUOTA_CTL, &args, "BTRFS_IOC_QUOTA_CTL");
        if (!enabled && enabled.error().is_errno(EINVAL)) {
            args.cmd = BTRFS_QUOTA_CTL_ENABLE;
            enabled = kernel::ioctl(fs, BTRFS_IOC_QUOTA_CTL, &args, "BTRFS_IOC_QUOTA_CTL");
        }
        if (!enabled) return std::move(enabled).error().with("enabling quotas");
        SBX_TRY(flags, quota_flags(fs));
        if (!flags) return Error{Errc::incompatible, "enabling quotas", "they did not come on"};
    }
    if ((*flags & kQgroupStatusSimple) != 0) return PoolKind::btrfs_simple_quota;
    if ((*flags & (BTRFS_QGROUP_STATUS_FLAG_INCONSISTENT | BTRFS_QGROUP_STATUS_FLAG_RESCAN)) != 0) {
        SBX_CHECK(recount(fs));
    }
    return PoolKind::btrfs_qgroup;
}

Result<std::string> uuid(int fs) {
    btrfs_ioctl_fs_info_args info{};
    SBX_CHECK(kernel::ioctl(fs, BTRFS_IOC_FS_INFO, &info, "BTRFS_IOC_FS_INFO"));
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string out;
    for (std::size_t i = 0; i < sizeof info.fsid; ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
        out += kDigits[info.fsid[i] >> 4U];
        out += kDigits[info.fsid[i] & 15U];
    }
    return out;
}

Result<void> create_subvolume(int parent, const std::string& name, std::uint64_t limit) {
    btrfs_qgroup_inherit inherit = limited(limit);
    btrfs_ioctl_vol_args_v2 args{};
    args.flags = BTRFS_SUBVOL_QGROUP_INHERIT;
    args.size = sizeof inherit;
    args.qgroup_inherit = &inherit;
    copy_name(args, name);
    SBX_CHECK(
        kernel::ioctl(parent, BTRFS_IOC_SUBVOL_CREATE_V2, &args, "BTRFS_IOC_SUBVOL_CREATE_V2"));
    return {};
}

Result<void> snapshot(int parent, int source, const std::string& name, std::uint64_t limit) {
    btrfs_qgroup_inherit inherit = limited(limit);
    btrfs_ioctl_vol_args_v2 args{};
    args.fd = source;
    args.flags = BTRFS_SUBVOL_QGROUP_INHERIT;
    args.size = sizeof inherit;
    args.qgroup_inherit = &inherit;
    copy_name(args, name);
    SBX_CHECK(kernel::ioctl(parent, BTRFS_IOC_SNAP_CREATE_V2, &args, "BTRFS_IOC_SNAP_CREATE_V2"));
    return {};
}

Result<void> destroy_subvolume(int parent, const std::string& name) {
    btrfs_ioctl_vol_args_v2 args{};
    copy_name(args, name);
    SBX_CHECK(kernel::ioctl(parent, BTRFS_IOC_SNAP_DESTROY_V2, &args, "BTRFS_IOC_SNAP_DESTROY_V2"));
    return {};
}

Result<std::uint64_t> subvolume_id(int folder) {
    btrfs_ioctl_ino_lookup_args args{};
    args.objectid = BTRFS_FIRST_FREE_OBJECTID;
    SBX_CHECK(kernel::ioctl(folder, BTRFS_IOC_INO_LOOKUP, &args, "BTRFS_IOC_INO_LOOKUP"));
    return std::uint64_t{args.treeid};
}

Result<bool> subvolume_exists(int fs, std::uint64_t id) {
    btrfs_ioctl_search_key key = key_of(BTRFS_ROOT_TREE_OBJECTID, id, BTRFS_ROOT_ITEM_KEY);
    key.nr_items = 1;
    SBX_TRY(const std::vector<Item> items, search(fs, key));
    return !items.empty();
}

Result<void> set_limit(int fs, std::uint64_t id, std::uint64_t bytes) {
    btrfs_ioctl_qgroup_limit_args args{};
    args.qgroupid = id;  // level 0
    args.lim.flags = BTRFS_QGROUP_LIMIT_MAX_RFER;
    args.lim.max_rfer = bytes;
    SBX_CHECK(kernel::ioctl(fs, BTRFS_IOC_QGROUP_LIMIT, &args, "BTRFS_IOC_QGROUP_LIMIT"));
    return {};
}

Result<std::vector<std::uint64_t>> qgroups(int fs) {
    constexpr std::uint64_t kLevelShift = 48;
    btrfs_ioctl_search_key key = key_of(BTRFS_QUOTA_TREE_OBJECTID, 0, BTRFS_QGROUP_INFO_KEY);
    key.min_offset = BTRFS_FIRST_FREE_OBJECTID;  // below are the file system's own trees
    key.max_offset = (1ULL << kLevelShift) - 1;
    std::vector<std::uint64_t> ids;
    for (;;) {
        key.nr_items = UINT32_MAX;
        SBX_TRY(const std::vector<Item> items, search(fs, key));
        if (items.empty()) return ids;
        for (const Item& item : items) ids.push_back(item.header.offset);
        if (ids.back() >= key.max_offset) return ids;
        key.min_offset = ids.back() + 1;
    }
}

Result<bool> remove_qgroup(int fs, std::uint64_t id) {
    btrfs_ioctl_qgroup_create_args args{};
    args.create = 0;
    args.qgroupid = id;
    const auto removed =
        kernel::ioctl(fs, BTRFS_IOC_QGROUP_CREATE, &args, "BTRFS_IOC_QGROUP_CREATE");
    // ENOENT: the kernel (6.11 on) has done it by itself.
    if (removed || removed.error().is_errno(ENOENT)) return true;
    if (removed.error().is_errno(EBUSY)) return false;
    return removed.error();
}

Result<std::uint64_t> live_usage(const std::string& uuid, std::uint64_t id) {
    const std::string folder = "/sys/fs/btrfs/" + uuid + "/qgroups/0_" + std::to_string(id) + "/";
    SBX_TRY(std::uint64_t before, read_count(folder + "referenced"));
    // Data moves from "reserved" to "referenced" when it is written out: read again if it did.
    for (int attempt = 0;; ++attempt) {
        SBX_TRY(const std::uint64_t reserved, read_count(folder + "rsv_data"));
        SBX_TRY(const std::uint64_t after, read_count(folder + "referenced"));
        if (after == before || attempt == 3) return after + reserved;
        before = after;
    }
}

Result<std::uint64_t> committed_usage(int fs, std::uint64_t id) {
    btrfs_ioctl_search_key key = key_of(BTRFS_QUOTA_TREE_OBJECTID, 0, BTRFS_QGROUP_INFO_KEY);
    key.min_offset = key.max_offset = id;
    key.nr_items = 1;
    SBX_TRY(const std::vector<Item> items, search(fs, key));
    if (items.empty())
        return Error{Errc::not_found, "read usage", "qgroup 0/" + std::to_string(id)};
    const auto info = decode<btrfs_qgroup_info_item>(items.front());
    if (!info) return Error{Errc::protocol_error, "read usage", "item too short"};
    return std::uint64_t{le64toh(info->rfer)};
}

Result<void> grow_to_device(int fs) {
    btrfs_ioctl_vol_args args{};
    std::memcpy(static_cast<void*>(args.name), "max", 3);
    SBX_CHECK(kernel::ioctl(fs, BTRFS_IOC_RESIZE, &args, "BTRFS_IOC_RESIZE"));
    return {};
}

}  // namespace sandboxd::fs::btrfs
