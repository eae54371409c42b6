#include "sandboxd/engine/expiry.hpp"

namespace sandboxd::engine {

void Expiry::set(const SandboxId& id, std::optional<SteadyTime> due) {
    const auto before = next();
    if (const auto found = due_.find(id); found != due_.end()) {
        queue_.erase({found->second, id});
        due_.erase(found);
    }
    if (!due) return;
    due_.emplace(id, *due);
    queue_.emplace(*due, id);
    // One that became later wakes nobody: the timer fires early once and finds nothing due.
    if (!before || *due < *before) earlier_.notify();
}

std::optional<SteadyTime> Expiry::next() const {
    if (queue_.empty()) return std::nullopt;
    return queue_.begin()->first;
}

std::vector<SandboxId> Expiry::take_due(SteadyTime now) {
    std::vector<SandboxId> out;
    while (!queue_.empty() && queue_.begin()->first <= now) {
        out.push_back(queue_.begin()->second);
        due_.erase(queue_.begin()->second);
        queue_.erase(queue_.begin());
    }
    return out;
}

asio::awaitable<void> Expiry::run(std::function<void(SandboxId)> on_due) {
    for (;;) {
        const auto at = next();
        const Deadline until = at ? Deadline::after(*at - std::chrono::steady_clock::now()) : Deadline::never();
        auto woken = co_await earlier_.wait(until);
        if (!woken && !woken.error().is(Errc::timeout)) co_return;
        for (const SandboxId& id : take_due(std::chrono::steady_clock::now())) on_due(id);
    }
}

}  // namespace sandboxd::engine
