#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "isolation/cgroup_drivers.hpp"
#include "isolation/cgroup_unified.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::isolation {

namespace {

class V2Group final : public SandboxCgroup {
public:
    V2Group(const V2Root& root, const std::string& name)
        : root_{root}, path_{root.root + "/" + name} {}

    [[nodiscard]] Result<void> make(const CgroupLimits& limits, const IdMap& ids) {
        SBX_CHECK(check_io(limits));
        SBX_TRY(unified_, UnifiedGroup::make(path_, ids));
        limits_ = limits;
        return {};
    }

    [[nodiscard]] Result<void> open() {
        auto opened = UnifiedGroup::find(path_);
        if (!opened && opened.error().is_errno(ENOENT))
            return Error{Errc::not_found, "open cgroup", path_};
        if (!opened) return std::move(opened).error();
        unified_ = *std::move(opened);
        SBX_TRY(const std::string enabled, unified_.top().read("cgroup.subtree_control"));
        settled_ = !enabled.empty();
        return {};
    }

    [[nodiscard]] int clone_target() const override { return unified_.init().fd(); }
    [[nodiscard]] Entry entry() const override { return {{}, unified_.top().fd(), {}}; }
    [[nodiscard]] Result<void> settle() override;

    [[nodiscard]] Result<void> enter_init(pid_t pid) override {
        SBX_CHECK(unified_.init().write("cgroup.procs", std::to_string(pid)));
        return settle();
    }

    [[nodiscard]] std::vector<std::pair<FdRole, int>> plan_fds() const override {
        return {{FdRole::leaf_unified, unified_.work().fd()}};
    }

    void release() noexcept override { unified_.release(); }

    [[nodiscard]] Result<Fd> open_memory_dir() const override { return unified_.top().open_dir(); }
    [[nodiscard]] Result<Fd> open_cpu_dir() const override { return unified_.top().open_dir(); }
    [[nodiscard]] Result<Fd> open_pids_dir() const override { return unified_.top().open_dir(); }

    [[nodiscard]] Result<void> set_limits(const CgroupLimits& limits) override {
        SBX_CHECK(check_limits(limits));
        SBX_CHECK(check_io(limits));
        if (settled_) SBX_CHECK(write_limits(limits));
        limits_ = limits;
        return {};
    }

    [[nodiscard]] Result<void> freeze(bool on) override { return unified_.freeze(on); }
    [[nodiscard]] Result<void> kill() override { return unified_.kill(); }
    [[nodiscard]] Result<bool> populated() override { return unified_.populated(); }
    [[nodiscard]] Result<void> remove() override { return remove_folders(path_); }

private:
    [[nodiscard]] bool has(std::string_view name) const {
        return std::find(root_.controllers.begin(), root_.controllers.end(), name) !=
               root_.controllers.end();
    }

    [[nodiscard]] Result<void> check_io(const CgroupLimits& limits) const {
        if (limits.io_bytes_per_second == 0 || (has("io") && root_.io_device != 0)) return {};
        return Error{Errc::incompatible, "cgroup limit",
                     has("io") ? "io_bytes_per_second: the pool has no block device"
                               : "io_bytes_per_second needs the io controller"};
    }

    [[nodiscard]] Result<void> enable(const CgroupFolder& folder,
                                      const std::vector<std::string>& names) const {
        std::string text;
        for (const std::string& name : names) text += (text.empty() ? "+" : " +") + name;
        if (text.empty()) return {};
        return folder.write("cgroup.subtree_control", text);
    }

    [[nodiscard]] Result<void> write_limits(const CgroupLimits& limits) const;
    [[nodiscard]] Result<void> make_room(std::uint64_t bytes) const;

    V2Root root_;
    std::string path_;
    UnifiedGroup unified_;
    CgroupLimits limits_;  // until settle() can write them
    bool settled_ = false;
};

// A group that hands controllers down takes no process, and the cgroup namespace had to be made in
// this one.
Result<void> V2Group::settle() {
    SBX_CHECK(enable(unified_.top(), root_.controllers));
    settled_ = true;
    if (has("memory")) SBX_CHECK(unified_.init().apply(v2_memory_writes(kInitMemoryBytes)));
    if (has("pids")) SBX_CHECK(unified_.init().apply(pids_writes(kInitPids)));
    SBX_CHECK(write_limits(limits_));
    // Each exec's leaf counts memory and io of its own; its CPU time is in cpu.stat without a
    // controller.
    std::vector<std::string> counted;
    for (const char* name : {"memory", "io"}) {
        if (has(name)) counted.emplace_back(name);
    }
    return enable(unified_.work(), counted);
}

Result<void> V2Group::write_limits(const CgroupLimits& limits) const {
    const CgroupFolder& work = unified_.work();
    // Memory first: it alone can be refused for the state it meets, and then nothing else has
    // changed.
    if (has("memory")) {
        SBX_CHECK(make_room(limits.memory_bytes));
        SBX_CHECK(work.apply(v2_memory_writes(limits.memory_bytes)));
    }
    if (has("cpu")) SBX_CHECK(work.apply(v2_cpu_writes(limits.cpu_milli)));
    if (has("pids")) SBX_CHECK(work.apply(pids_writes(limits.pids)));
    if (has("io") && root_.io_device != 0) {
        SBX_CHECK(work.apply(v2_io_writes(limits.io_bytes_per_second, root_.io_device)));
    }
    return {};
}

// memory.max below the usage kills; memory.high only reclaims. So shrink by the latter and see
// whether that was enough.
Result<void> V2Group::make_room(std::uint64_t bytes) const {
    const CgroupFolder& work = unified_.work();
    const auto usage = [&]() -> Result<std::uint64_t> {
        SBX_TRY(const std::string text, work.read("memory.current"));
        std::uint64_t value = 0;
        if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc{}) {
            return Error{Errc::protocol_error, "read control file",
                         work.path() + "/memory.current = " + text};
        }
        return value;
    };
    SBX_TRY(std::uint64_t used, usage());
    if (used <= bytes) return {};
    SBX_CHECK(work.write("memory.high", std::to_string(bytes)));
    auto after = usage();
    SBX_CHECK(work.write("memory.high", "max"));
    if (!after) return std::move(after).error();
    if (*after <= bytes) return {};
    return Error{Errc::conflict, "cgroup limit",
                 "the workload uses more memory than the new limit and can't be shrunk; stop "
                 "something in it first"}
        .fact("limit", std::string{"memory_bytes"})
        .fact("asked", static_cast<std::int64_t>(bytes))
        .fact("used", static_cast<std::int64_t>(*after));
}

class V2Driver final : public CgroupDriver {
public:
    explicit V2Driver(V2Root root) : root_{std::move(root)} {}

    [[nodiscard]] CgroupMode mode() const noexcept override { return CgroupMode::v2; }

    [[nodiscard]] Result<std::unique_ptr<SandboxCgroup>> create(const std::string& name,
                                                                const CgroupLimits& limits,
                                                                const IdMap& ids) override {
        SBX_CHECK(check_group_name(name));
        SBX_CHECK(check_limits(limits));
        auto group = std::make_unique<V2Group>(root_, name);
        SBX_CHECK(group->make(limits, ids));
        return std::unique_ptr<SandboxCgroup>{std::move(group)};
    }

    [[nodiscard]] Result<std::unique_ptr<SandboxCgroup>> open(const std::string& name) override {
        SBX_CHECK(check_group_name(name));
        auto group = std::make_unique<V2Group>(root_, name);
        SBX_CHECK(group->open());
        return std::unique_ptr<SandboxCgroup>{std::move(group)};
    }

    [[nodiscard]] Result<std::vector<std::string>> list() override {
        return child_folders(root_.root);
    }

    [[nodiscard]] Result<void> remove_root() override {
        auto removed = sys::unlinkat(AT_FDCWD, root_.root.c_str(), AT_REMOVEDIR);
        if (!removed && !removed.error().is_errno(ENOENT)) return removed;
        return {};
    }

private:
    V2Root root_;
};

}  // namespace

std::unique_ptr<CgroupDriver> make_v2_driver(V2Root root) {
    return std::make_unique<V2Driver>(std::move(root));
}

}  // namespace sandboxd::isolation
