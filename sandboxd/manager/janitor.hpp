#pragma once

#include <cstdint>
#include <functional>
#include <unordered_map>

#include "fs/pool.hpp"
#include "isolation/cgroup.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/manager/entry.hpp"
#include "sandboxd/manager/state_file.hpp"

namespace sandboxd::manager {

// Removes what a sandbox leaves: control groups, volume, socket, state file, in this order, on a thread of its own. What
// can't be removed yet (a process in the kernel's hands) is tried again until it can; until then its ids stay taken.
// Control groups are looked for by name where the entry holds none: a create that failed on the way, for want of a
// descriptor say, may have left some and been unable to take them back.
class Janitor {
public:
    Janitor(asio::any_io_executor executor, isolation::CgroupDriver& cgroups, fs::Pool& pool, const StateDirectory& states, int agent_dir);

    // `done` is called once nothing is left.
    void remove(EntryPtr entry, std::function<void()> done);
    [[nodiscard]] bool removing(const SandboxId& id) const { return started_.contains(id); }
    [[nodiscard]] std::uint32_t pending() const { return static_cast<std::uint32_t>(started_.size()); }
    [[nodiscard]] std::uint32_t stuck() const;
    [[nodiscard]] asio::awaitable<Result<void>> join(Deadline deadline) { return tasks_.join(deadline); }
    void cancel() { tasks_.cancel(); }

private:
    asio::awaitable<void> remove_until_gone(EntryPtr entry, std::function<void()> done);
    [[nodiscard]] Result<void> remove_once(Entry& entry);

    [[nodiscard]] Result<void> remove_groups(Entry& entry);

    isolation::CgroupDriver& cgroups_;
    fs::Pool& pool_;
    const StateDirectory& states_;
    int agent_dir_;
    std::unordered_map<SandboxId, Deadline::Clock::time_point> started_;
    BlockingPool thread_{1};
    TaskGroup tasks_;
};

}  // namespace sandboxd::manager
