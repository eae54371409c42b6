#pragma once

#include <string>

#include "isolation/cgroup_folder.hpp"
#include "isolation/id_map.hpp"

namespace sandboxd::isolation {

// A sandbox's folders in the cgroup2 tree, with what only cgroup2 can do (kill, freeze, events).
// Used by both drivers. `top` may be missing (a half-made group): then nothing can be in it, and
// kill and freeze have nothing to do.
class UnifiedGroup {
public:
    UnifiedGroup() noexcept = default;
    // On failure nothing is left.
    [[nodiscard]] static Result<UnifiedGroup> make(const std::string& path, const IdMap& ids);
    [[nodiscard]] static Result<UnifiedGroup> find(const std::string& path);

    [[nodiscard]] const CgroupFolder& top() const noexcept { return top_; }
    [[nodiscard]] const CgroupFolder& init() const noexcept { return init_; }
    [[nodiscard]] const CgroupFolder& work() const noexcept { return work_; }
    void release() noexcept;

    [[nodiscard]] Result<void> freeze(bool on) const;
    [[nodiscard]] Result<void> kill() const;
    [[nodiscard]] Result<bool> populated() const;

private:
    [[nodiscard]] Result<void> build(const std::string& path, const IdMap& ids);
    [[nodiscard]] Result<void> wait_frozen(bool on) const;

    CgroupFolder top_;
    CgroupFolder init_;
    CgroupFolder work_;
};

// One path component that can't be taken for something else: [A-Za-z0-9_-][A-Za-z0-9_.-]*, at most
// 128 bytes.
[[nodiscard]] Result<void> check_group_name(const std::string& name);

}  // namespace sandboxd::isolation
