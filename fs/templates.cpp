#include "fs/templates.hpp"

#include <fcntl.h>

#include <cerrno>

#include "fs/kernel.hpp"
#include "fs/skeleton.hpp"
#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::fs {

namespace {

constexpr std::string_view kPrefix = "host-";
constexpr std::string_view kBootSuffix = ".boot";
constexpr std::string_view kNewSuffix = ".new";

Result<std::string> boot_id() {
    SBX_TRY(std::string id, sys::read_file("/proc/sys/kernel/random/boot_id", 64));
    while (!id.empty() && id.back() == '\n') id.pop_back();
    return id;
}

std::string boot_file(const std::string& skeleton) {
    return skeleton + std::string{kBootSuffix};
}

// Takes a skeleton that is not what it should be out of the way. It is not repaired in place and
// not removed: a living sandbox may have it as its lower layer.
Result<void> set_aside(const std::string& path, const std::string& boot) {
    int number = 1;
    std::string aside;
    do {
        aside = path + "-stale" + std::to_string(number++);
    } while (sys::exists(aside));
    SBX_CHECK(sys::write_file_atomic(boot_file(aside), boot));
    return sys::rename(path, aside);
}

// Sandboxes hold a skeleton through mounts that no table shows, but none outlives a boot: so one
// that was last current in an earlier boot is in nobody's use.
Result<void> remove_old(const std::string& folder, const std::string& current,
                        const std::string& boot) {
    SBX_TRY(const std::vector<std::string> names, kernel::list_dir(folder));
    for (const std::string& name : names) {
        if (!name.starts_with(kPrefix) || name.ends_with(kBootSuffix) || name == current) continue;
        const std::string path = folder + "/" + name;
        const auto marked = sys::read_file(boot_file(path), 64);
        if (marked && *marked == boot) continue;
        SBX_CHECK(kernel::remove_tree(path));
        const auto unmarked = sys::unlinkat(AT_FDCWD, boot_file(path).c_str());
        if (!unmarked && !unmarked.error().is_errno(ENOENT)) return unmarked.error();
    }
    return {};
}

Result<std::string> ensure_skeleton(const std::string& folder, const Tree& tree) {
    SBX_TRY(const std::string boot, boot_id());
    const std::string name = std::string{kPrefix} + fingerprint(tree);
    const std::string path = folder + "/" + name;
    if (sys::exists(path)) {
        SBX_TRY(const bool intact, holds_tree(path, tree));
        if (!intact) {
            log::warn("the host template's skeleton was changed, making it anew", {{"path", path}});
            SBX_CHECK(set_aside(path, boot));
        }
    }
    // Before the skeleton can be used: one without its mark counts as old.
    SBX_CHECK(sys::write_file_atomic(boot_file(path), boot));
    if (!sys::exists(path)) {
        const std::string unfinished = path + std::string{kNewSuffix};
        SBX_CHECK(kernel::remove_tree(unfinished));
        SBX_CHECK(write_tree(tree, unfinished));
        SBX_CHECK(sys::rename(unfinished, path));
    }
    SBX_CHECK(remove_old(folder, name, boot));
    return path;
}

}  // namespace

struct TemplateStore::Impl {
    std::string skeleton;
};

TemplateStore::TemplateStore(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
TemplateStore::~TemplateStore() = default;

Result<std::unique_ptr<TemplateStore>> TemplateStore::open(const std::string& state_dir) {
    SBX_CHECK(sys::ensure_dir(state_dir, 0711));
    SBX_TRY(const std::string real, kernel::real_path(state_dir));
    const std::string folder = real + "/templates";
    SBX_CHECK(sys::ensure_dir(folder, 0700));
    SBX_TRY(const Tree tree, host_skeleton("/"));
    auto impl = std::make_unique<Impl>();
    SBX_TRY(impl->skeleton, ensure_skeleton(folder, tree));
    return std::unique_ptr<TemplateStore>{new TemplateStore{std::move(impl)}};
}

std::vector<TemplateInfo> TemplateStore::list() const {
    return {TemplateInfo{
        "host", "This machine's own programs and libraries (/usr, read-only)", {impl_->skeleton}}};
}

Result<isolation::MountPlan> TemplateStore::plan(const std::string& name,
                                                 const std::string& volume_path) const {
    if (name != "host") {
        return Error{Errc::not_found, "template", "\"" + name + "\" is none; there is: host"};
    }
    using isolation::FdRole;
    isolation::MountPlan plan;
    plan.sources.push_back({FdRole::upper_mount, volume_path, {}, false});
    plan.sources.push_back({FdRole::lower_mount, impl_->skeleton, {}, true});
    plan.sources.push_back({FdRole::bind_mount, "/usr", "/usr", true});
    return plan;
}

}  // namespace sandboxd::fs
