#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "isolation/cgroup_drivers.hpp"
#include "isolation/cgroup_unified.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::isolation {

namespace {

bool holds(const std::vector<std::string>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

// A sandbox's folders in one v1 hierarchy. Where the init and the workload have budgets of their
// own or the execs have leaves there are init/ and work/; in the others (devices, blkio) all share
// the sandbox's folder, which costs fewer folders and moves.
struct V1Group {
    std::vector<std::string> controllers;
    bool split = false;
    CgroupFolder top;
    CgroupFolder init;
    CgroupFolder work;
    Fd entry;  // tasks of where PID 1 goes; until settle()
    Fd above;  // tasks of the sandbox's own folder, where that is another; until settle()
    Fd join;   // tasks of work/ for those without a leaf per exec; until release()

    [[nodiscard]] bool has(std::string_view name) const { return holds(controllers, name); }
    [[nodiscard]] bool leaves() const { return has("memory") || has("cpuacct"); }
    [[nodiscard]] Result<void> make(const std::string& path, const IdMap& ids);
    [[nodiscard]] Result<void> find(const std::string& path);
    void release() noexcept;
    [[nodiscard]] Result<void> limit_init() const;
};

V1Group make_group(const std::vector<std::string>& controllers) {
    V1Group group;
    group.controllers = controllers;
    group.split = std::any_of(controllers.begin(), controllers.end(), [](const std::string& name) {
        return name == "memory" || name == "cpu" || name == "cpuacct" || name == "pids";
    });
    return group;
}

Result<void> V1Group::make(const std::string& path, const IdMap& ids) {
    SBX_TRY(top, CgroupFolder::make(path));
    if (has("devices")) SBX_CHECK(top.apply(v1_device_writes()));
    if (!split) {
        SBX_TRY(entry, top.open_tasks());
        return {};
    }
    SBX_TRY(init, CgroupFolder::make(path + "/init"));
    SBX_TRY(work, CgroupFolder::make(path + "/work"));
    SBX_TRY(entry, init.open_tasks());
    SBX_TRY(above, top.open_tasks());
    if (leaves()) {
        SBX_CHECK(work.delegate_to(ids.init_id()));
    } else {
        SBX_TRY(join, work.open_tasks());
    }
    return limit_init();
}

Result<void> V1Group::limit_init() const {
    if (has("memory"))
        SBX_CHECK(init.apply(v1_memory_writes(kInitMemoryBytes, MemoryChange::shrink)));
    if (has("pids")) SBX_CHECK(init.apply(pids_writes(kInitPids)));
    return {};
}

Result<void> find_if_there(CgroupFolder& folder, const std::string& path) {
    auto opened = CgroupFolder::find(path);
    if (opened) {
        folder = *std::move(opened);
    } else if (!opened.error().is_errno(ENOENT)) {
        return std::move(opened).error();
    }
    return {};
}

Result<void> V1Group::find(const std::string& path) {
    SBX_CHECK(find_if_there(top, path));
    if (!top.valid() || !split) return {};
    SBX_CHECK(find_if_there(init, path + "/init"));
    return find_if_there(work, path + "/work");
}

void V1Group::release() noexcept {
    for (CgroupFolder* folder : {&top, &init, &work}) folder->release();
    join.reset();
}

class HybridGroup final : public SandboxCgroup {
public:
    HybridGroup(const HybridRoots& roots, const std::string& name) : io_device_{roots.io_device} {
        unified_path_ = roots.unified + "/" + name;
        for (const V1Root& root : roots.v1) {
            paths_.push_back(root.root + "/" + name);
            groups_.push_back(make_group(root.controllers));
        }
    }

    [[nodiscard]] Result<void> make(const CgroupLimits& limits, const IdMap& ids) {
        SBX_TRY(unified_, UnifiedGroup::make(unified_path_, ids));
        auto built = build(limits, ids);
        if (built) return {};
        (void)remove();  // the first failure is the one to tell
        return std::move(built).error();
    }

    [[nodiscard]] Result<void> open() {
        bool found = false;
        auto unified = UnifiedGroup::find(unified_path_);
        if (unified) {
            unified_ = *std::move(unified);
            found = true;
        } else if (!unified.error().is_errno(ENOENT)) {
            return std::move(unified).error();
        }
        for (std::size_t i = 0; i < groups_.size(); ++i) {
            SBX_CHECK(groups_[i].find(paths_[i]));
            found = found || groups_[i].top.valid();
        }
        if (!found) return Error{Errc::not_found, "open cgroup", unified_path_};
        return {};
    }

    [[nodiscard]] int clone_target() const override { return unified_.init().fd(); }

    [[nodiscard]] Entry entry() const override {
        Entry out;
        for (const V1Group& group : groups_) {
            out.tasks.push_back(group.entry.get());
            if (group.above.valid()) out.namespace_tasks.push_back(group.above.get());
        }
        out.namespace_root = unified_.top().fd();
        return out;
    }

    [[nodiscard]] Result<void> settle() override {
        for (V1Group& group : groups_) {
            group.entry.reset();
            group.above.reset();
        }
        return {};
    }

    [[nodiscard]] Result<void> enter_init(pid_t pid) override {
        const std::string text = std::to_string(pid);
        for (const V1Group& group : groups_) {
            SBX_CHECK((group.split ? group.init : group.top).write("cgroup.procs", text));
        }
        SBX_CHECK(unified_.init().write("cgroup.procs", text));
        return settle();
    }

    [[nodiscard]] std::vector<std::pair<FdRole, int>> plan_fds() const override {
        std::vector<std::pair<FdRole, int>> out{{FdRole::leaf_unified, unified_.work().fd()}};
        for (const V1Group& group : groups_) {
            // Co-mounted, one leaf serves both; the init takes it as whichever role it is given.
            if (group.has("memory")) {
                out.emplace_back(FdRole::leaf_memory, group.work.fd());
            } else if (group.has("cpuacct")) {
                out.emplace_back(FdRole::leaf_cpuacct, group.work.fd());
            } else if (group.join.valid()) {
                out.emplace_back(FdRole::join_procs, group.join.get());
                if (group.has("cpu")) out.emplace_back(FdRole::limits_cpu, group.work.fd());
            }
        }
        return out;
    }

    void release() noexcept override {
        unified_.release();
        for (V1Group& group : groups_) group.release();
    }

    [[nodiscard]] Result<Fd> open_memory_dir() const override { return open_top("memory"); }
    [[nodiscard]] Result<Fd> open_cpu_dir() const override { return open_top("cpuacct"); }
    [[nodiscard]] Result<Fd> open_pids_dir() const override {
        const bool counted = std::any_of(groups_.begin(), groups_.end(), [](const V1Group& group) { return group.has("pids"); });
        return open_top(counted ? "pids" : "memory");
    }

    [[nodiscard]] Result<void> set_limits(const CgroupLimits& limits) override;
    [[nodiscard]] Result<void> freeze(bool on) override { return unified_.freeze(on); }
    [[nodiscard]] Result<void> kill() override { return unified_.kill(); }
    [[nodiscard]] Result<bool> populated() override { return unified_.populated(); }

    // The unified folder goes last: it is what kill() needs as long as anything is left.
    [[nodiscard]] Result<void> remove() override {
        for (const std::string& path : paths_) SBX_CHECK(remove_folders(path));
        return remove_folders(unified_path_);
    }

private:
    [[nodiscard]] Result<void> build(const CgroupLimits& limits, const IdMap& ids) {
        for (std::size_t i = 0; i < groups_.size(); ++i) SBX_CHECK(groups_[i].make(paths_[i], ids));
        return set_limits(limits);
    }

    [[nodiscard]] Result<Fd> open_top(std::string_view controller) const {
        for (const V1Group& group : groups_) {
            if (group.has(controller)) return group.top.open_dir();
        }
        return Error{Errc::incompatible, "cgroup", "no hierarchy has " + std::string{controller}};
    }

    [[nodiscard]] Result<void> limit_memory(const CgroupFolder& work, std::uint64_t bytes) const;
    [[nodiscard]] Result<void> limit_io(const CgroupFolder& top, std::uint64_t bytes_per_second);

    dev_t io_device_;
    std::string unified_path_;
    std::vector<std::string> paths_;  // one per group, in step
    UnifiedGroup unified_;
    std::vector<V1Group> groups_;
    bool throttled_ = false;
};

Result<void> HybridGroup::set_limits(const CgroupLimits& limits) {
    SBX_CHECK(check_limits(limits));
    bool io_done = false;
    // Memory first: it alone can be refused for the state it meets, and then nothing else has
    // changed.
    for (const V1Group& group : groups_) {
        if (group.has("memory")) SBX_CHECK(limit_memory(group.work, limits.memory_bytes));
    }
    for (const V1Group& group : groups_) {
        if (group.has("cpu")) SBX_CHECK(group.work.apply(v1_cpu_writes(limits.cpu_milli)));
        if (group.has("pids")) SBX_CHECK(group.work.apply(pids_writes(limits.pids)));
        if (group.has("blkio")) {
            SBX_CHECK(limit_io(group.top, limits.io_bytes_per_second));
            io_done = true;
        }
    }
    if (limits.io_bytes_per_second != 0 && !io_done) {
        return Error{Errc::incompatible, "cgroup limit",
                     "io_bytes_per_second needs the blkio controller"};
    }
    return {};
}

Result<void> HybridGroup::limit_memory(const CgroupFolder& work, std::uint64_t bytes) const {
    SBX_TRY(const std::string now, work.read("memory.limit_in_bytes"));
    // Decimal without leading zeros: the longer one is the larger one.
    const std::string next = std::to_string(bytes);
    const bool grow = now.size() < next.size() || (now.size() == next.size() && now < next);
    auto written =
        work.apply(v1_memory_writes(bytes, grow ? MemoryChange::grow : MemoryChange::shrink));
    if (written || !written.error().is_errno(EBUSY)) return written;
    auto usage = work.read("memory.usage_in_bytes");
    return Error{Errc::conflict, "cgroup limit",
                 "the workload uses more memory than the new limit and can't be shrunk; stop "
                 "something in it first"}
        .fact("limit", std::string{"memory_bytes"})
        .fact("asked", static_cast<std::int64_t>(bytes))
        .fact("used", usage ? *usage : std::string{"unknown"});
}

Result<void> HybridGroup::limit_io(const CgroupFolder& top, std::uint64_t bytes_per_second) {
    if (bytes_per_second == 0 && !throttled_) return {};
    if (io_device_ == 0) {
        return Error{Errc::incompatible, "cgroup limit",
                     "io_bytes_per_second: the pool has no block device"};
    }
    SBX_CHECK(top.apply(v1_io_writes(bytes_per_second, io_device_)));
    throttled_ = bytes_per_second != 0;
    return {};
}

class HybridDriver final : public CgroupDriver {
public:
    explicit HybridDriver(HybridRoots roots) : roots_{std::move(roots)} {}

    [[nodiscard]] CgroupMode mode() const noexcept override { return CgroupMode::hybrid; }

    [[nodiscard]] Result<std::unique_ptr<SandboxCgroup>> create(const std::string& name,
                                                                const CgroupLimits& limits,
                                                                const IdMap& ids) override {
        SBX_CHECK(check_group_name(name));
        SBX_CHECK(check_limits(limits));
        auto group = std::make_unique<HybridGroup>(roots_, name);
        SBX_CHECK(group->make(limits, ids));
        return std::unique_ptr<SandboxCgroup>{std::move(group)};
    }

    [[nodiscard]] Result<std::unique_ptr<SandboxCgroup>> open(const std::string& name) override {
        SBX_CHECK(check_group_name(name));
        auto group = std::make_unique<HybridGroup>(roots_, name);
        SBX_CHECK(group->open());
        return std::unique_ptr<SandboxCgroup>{std::move(group)};
    }

    [[nodiscard]] Result<std::vector<std::string>> list() override {
        std::set<std::string> names;
        SBX_TRY(std::vector<std::string> unified, child_folders(roots_.unified));
        names.insert(unified.begin(), unified.end());
        for (const V1Root& root : roots_.v1) {
            SBX_TRY(std::vector<std::string> v1, child_folders(root.root));
            names.insert(v1.begin(), v1.end());
        }
        return std::vector<std::string>{names.begin(), names.end()};
    }

    // Only the folders themselves: with a sandbox left below one of them this is EBUSY, and the
    // sandbox stays.
    [[nodiscard]] Result<void> remove_root() override {
        for (const V1Root& root : roots_.v1) SBX_CHECK(remove_one(root.root));
        return remove_one(roots_.unified);
    }

private:
    [[nodiscard]] static Result<void> remove_one(const std::string& path) {
        auto removed = sys::unlinkat(AT_FDCWD, path.c_str(), AT_REMOVEDIR);
        if (!removed && !removed.error().is_errno(ENOENT)) return removed;
        return {};
    }

    HybridRoots roots_;
};

}  // namespace

std::unique_ptr<CgroupDriver> make_hybrid_driver(HybridRoots roots) {
    return std::make_unique<HybridDriver>(std::move(roots));
}

}  // namespace sandboxd::isolation
