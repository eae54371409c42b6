#include "sandboxd/manager/janitor.hpp"

#include <algorithm>

#include "sandboxd/core/log.hpp"
#include "sandboxd/manager/agent_socket.hpp"

namespace sandboxd::manager {

namespace {

constexpr std::chrono::milliseconds kFirstRetry{20};
constexpr std::chrono::milliseconds kLongestRetry{5000};
constexpr std::chrono::seconds kStuckAfter{60};

}  // namespace

Janitor::Janitor(asio::any_io_executor executor, isolation::CgroupDriver& cgroups, fs::Pool& pool, const StateDirectory& states, int agent_dir)
    : cgroups_{cgroups}, pool_{pool}, states_{states}, agent_dir_{agent_dir}, tasks_{std::move(executor)} {}

void Janitor::remove(EntryPtr entry, std::function<void()> done) {
    started_.emplace(entry->state.id, Deadline::Clock::now());
    std::string name = "remove " + entry->state.id.str();  // before `entry` is moved from
    tasks_.spawn(std::move(name), remove_until_gone(std::move(entry), std::move(done)));
}

std::uint32_t Janitor::stuck() const {
    const auto limit = Deadline::Clock::now() - kStuckAfter;
    return static_cast<std::uint32_t>(std::count_if(started_.begin(), started_.end(), [&](const auto& item) { return item.second < limit; }));
}

asio::awaitable<void> Janitor::remove_until_gone(EntryPtr entry, std::function<void()> done) {
    auto pause = kFirstRetry;
    bool reported = false;
    for (;;) {
        auto result = std::make_shared<Result<void>>();
        std::function<void()> work = [this, entry, result] { *result = remove_once(*entry); };
        co_await thread_.run(std::move(work));
        if (*result) break;
        if (pause == kLongestRetry && !reported) {
            reported = true;
            log::warn("a removed sandbox is stuck; its ids and disk stay charged", {{"sandbox", entry->state.id.str()}, {"error", result->error()}});
        }
        const Deadline again = Deadline::after(pause);
        auto slept = co_await sleep_until(again);
        if (!slept) break;  // the daemon stops: the next start goes on from the state file
        pause = std::min(pause * 2, kLongestRetry);
    }
    started_.erase(entry->state.id);
    done();
}

Result<void> Janitor::remove_groups(Entry& entry) {
    if (!entry.cgroup) {
        auto found = cgroups_.open(entry.state.id.str());
        if (!found && found.error().errc() == Errc::not_found) return {};
        if (!found) return std::move(found).error();
        entry.cgroup = *std::move(found);
    }
    SBX_CHECK(entry.cgroup->kill());
    SBX_CHECK(entry.cgroup->remove());
    entry.cgroup.reset();
    return {};
}

Result<void> Janitor::remove_once(Entry& entry) {
    SBX_CHECK(remove_groups(entry));
    SBX_CHECK(pool_.remove(entry.state.id.str()));
    SBX_CHECK(remove_agent(agent_dir_, entry.state.id));
    return states_.remove(entry.state.id);
}

}  // namespace sandboxd::manager
