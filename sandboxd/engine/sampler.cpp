#include "sandboxd/engine/sampler.hpp"

#include "sandboxd/core/log.hpp"

namespace sandboxd::engine {

namespace {

constexpr auto kPeriod = std::chrono::seconds{1};
constexpr auto kDiskTime = std::chrono::milliseconds{800};
constexpr std::size_t kDisksAtOnce = 512;  // control::Node's own bound

}  // namespace

Sampler::Sampler(asio::any_io_executor executor, control::Node& node, IoPools& pools, Store& store)
    : node_{node}, pools_{pools}, store_{store}, work_{std::move(executor)} {}

void Sampler::watch(const std::shared_ptr<Metered>& who) {
    const bool first = watched_.empty();
    watched_[who->metered_id()] = who;
    if (first) work_.notify();
}

asio::awaitable<void> Sampler::run() {
    auto next = std::chrono::steady_clock::now();
    for (;;) {
        if (watched_.empty()) {
            if (!co_await work_.wait(Deadline::never())) co_return;
            next = std::chrono::steady_clock::now() + kPeriod;
            continue;
        }
        const auto now = std::chrono::steady_clock::now();
        if (now < next) {
            if (!co_await sleep_until(Deadline::after(next - now))) co_return;
        }
        next = std::max(next + kPeriod, std::chrono::steady_clock::now());
        co_await sample();
    }
}

asio::awaitable<void> Sampler::sample() {
    const auto looks = std::make_shared<std::vector<Look>>();
    for (auto it = watched_.begin(); it != watched_.end();) {
        const auto who = it->second.lock();
        const auto counters = who ? who->counters() : nullptr;
        if (counters) looks->push_back({who, counters, who->meter().running(), {}});
        // This round is the last one of a sandbox that has come to rest.
        it = who && who->runs_something() ? std::next(it) : watched_.erase(it);
    }
    if (looks->empty()) co_return;
    std::function<void()> work = [looks] {
        for (Look& look : *looks) look.readings = read_counters(*look.counters, look.execs);
    };
    co_await pools_.spill.run(std::move(work));
    for (const Look& look : *looks) look.who->meter().apply(look.readings);
    co_await read_disks(*looks);
    std::vector<ledger::Sample> rows;
    const WallTime now = system_clock().wall();
    for (const Look& look : *looks) {
        look.who->meter().rows(now, rows);
        look.who->sampled();
    }
    store_.append(std::move(rows));
}

asio::awaitable<void> Sampler::read_disks(const std::vector<Look>& looks) {
    for (std::size_t from = 0; from < looks.size(); from += kDisksAtOnce) {
        const std::size_t to = std::min(looks.size(), from + kDisksAtOnce);
        std::vector<SandboxId> ids;
        for (std::size_t i = from; i < to; ++i) ids.push_back(looks[i].who->metered_id());
        auto used = co_await node_.disk_usage(std::move(ids), Deadline::after(kDiskTime));
        if (!used || used->size() != to - from) {
            log::debug("disk use is not known; the last figures stand");
            co_return;
        }
        for (std::size_t i = from; i < to; ++i) looks[i].who->meter().set_disk((*used)[i - from]);
    }
}

}  // namespace sandboxd::engine
