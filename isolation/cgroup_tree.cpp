#include "isolation/cgroup_tree.hpp"

#include <algorithm>

#include "sandboxd/core/sys.hpp"

namespace sandboxd::isolation {

namespace {

constexpr std::size_t kMaxMountinfo = 16 << 20;

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> out;
    while (!text.empty()) {
        const auto end = text.find(separator);
        const std::string_view part = text.substr(0, end);
        if (!part.empty()) out.push_back(part);
        if (end == std::string_view::npos) break;
        text.remove_prefix(end + 1);
    }
    return out;
}

// mountinfo writes space, tab, newline and backslash as three octal digits.
std::string unescape(std::string_view text) {
    const auto octal = [](char c) { return c >= '0' && c <= '7'; };
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) &&
            octal(text[i + 3])) {
            out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                     (text[i + 3] - '0'));
            i += 3;
        } else {
            out += text[i];
        }
    }
    return out;
}

bool below(std::string_view path, std::string_view root) {
    if (root == "/") return path.starts_with('/');
    return path.starts_with(root) && (path.size() == root.size() || path[root.size()] == '/');
}

struct Mount {
    std::string_view type;
    std::string root;
    std::string point;
    std::vector<std::string_view> options;  // of the super block: controllers, nsdelegate
};

// 36 35 98:0 /root /point rw,noatime master:1 - type source options
std::optional<Mount> parse_mount(std::string_view line) {
    const auto dash = line.find(" - ");
    if (dash == std::string_view::npos) return std::nullopt;
    const auto head = split(line.substr(0, dash), ' ');
    const auto tail = split(line.substr(dash + 3), ' ');
    if (head.size() < 6 || tail.size() < 3) return std::nullopt;
    return Mount{tail[0], unescape(head[3]), unescape(head[4]), split(tail[2], ',')};
}

bool offers(const Mount& mount, const CgroupHierarchy& hierarchy) {
    if (hierarchy.controllers.empty()) return mount.type == "cgroup2";
    if (mount.type != "cgroup") return false;
    return std::all_of(hierarchy.controllers.begin(), hierarchy.controllers.end(),
                       [&](const std::string& name) {
                           return std::find(mount.options.begin(), mount.options.end(), name) !=
                                  mount.options.end();
                       });
}

bool place(CgroupHierarchy& hierarchy, const std::vector<Mount>& mounts) {
    for (const Mount& mount : mounts) {
        if (!offers(mount, hierarchy) || !below(hierarchy.self, mount.root)) continue;
        hierarchy.mount_point = mount.point;
        hierarchy.mount_root = mount.root;
        hierarchy.nsdelegate = std::find(mount.options.begin(), mount.options.end(),
                                         "nsdelegate") != mount.options.end();
        return true;
    }
    return false;
}

}  // namespace

bool CgroupHierarchy::has(std::string_view controller) const noexcept {
    return std::find(controllers.begin(), controllers.end(), controller) != controllers.end();
}

std::string CgroupHierarchy::self_folder() const {
    std::string inner = mount_root == "/" ? self : self.substr(mount_root.size());
    while (inner.ends_with('/')) inner.pop_back();
    return mount_point + inner;
}

const CgroupHierarchy* CgroupTree::find(std::string_view controller) const noexcept {
    const auto found =
        std::find_if(v1.begin(), v1.end(), [&](const auto& h) { return h.has(controller); });
    return found == v1.end() ? nullptr : &*found;
}

Result<CgroupTree> parse_cgroup_tree(std::string_view self_cgroup, std::string_view mountinfo) {
    std::vector<Mount> mounts;
    for (const std::string_view line : split(mountinfo, '\n')) {
        auto mount = parse_mount(line);
        if (!mount) return Error{Errc::protocol_error, "parse mountinfo", std::string{line}};
        if (mount->type == "cgroup" || mount->type == "cgroup2")
            mounts.push_back(*std::move(mount));
    }
    CgroupTree tree;
    for (const std::string_view line : split(self_cgroup, '\n')) {
        const auto first = line.find(':');
        const auto second = first == std::string_view::npos ? first : line.find(':', first + 1);
        if (second == std::string_view::npos)
            return Error{Errc::protocol_error, "parse cgroup", std::string{line}};
        CgroupHierarchy hierarchy;
        hierarchy.self = std::string{line.substr(second + 1)};
        const std::string_view names = line.substr(first + 1, second - first - 1);
        if (names.starts_with("name=")) continue;
        for (const std::string_view name : split(names, ','))
            hierarchy.controllers.emplace_back(name);
        if (!place(hierarchy, mounts)) continue;
        if (hierarchy.controllers.empty()) {
            tree.unified = std::move(hierarchy);
        } else {
            tree.v1.push_back(std::move(hierarchy));
        }
    }
    return tree;
}

Result<CgroupTree> read_cgroup_tree() {
    SBX_TRY(const std::string self, sys::read_file("/proc/self/cgroup"));
    SBX_TRY(const std::string mounts, sys::read_file("/proc/self/mountinfo", kMaxMountinfo));
    return parse_cgroup_tree(self, mounts);
}

}  // namespace sandboxd::isolation
