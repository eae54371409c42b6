#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <map>
#include <memory>
#include <vector>

#include "sandboxd/control/node.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/engine/io_pools.hpp"
#include "sandboxd/engine/sandbox_meter.hpp"
#include "sandboxd/engine/store.hpp"

namespace sandboxd::engine {

// Something whose use is metered while it runs something.
class Metered {
public:
    virtual ~Metered() = default;
    [[nodiscard]] virtual const SandboxId& metered_id() const = 0;
    [[nodiscard]] virtual std::shared_ptr<const CgroupCounters> counters() const = 0;  // null: none at the moment
    [[nodiscard]] virtual SandboxMeter& meter() = 0;
    [[nodiscard]] virtual bool runs_something() const = 0;
    virtual void sampled() = 0;  // the meter has new figures
};

// Once a second, for those that run something: reads the counters on a pool thread, the disks with one question to the
// node, and appends all rows to the ledger together. Sandboxes that run nothing cost no wake-up; nobody waits for it.
class Sampler {
public:
    Sampler(asio::any_io_executor executor, control::Node& node, IoPools& pools, Store& store);

    // From now on, until it runs nothing; then one last time.
    void watch(const std::shared_ptr<Metered>& who);
    [[nodiscard]] asio::awaitable<void> run();
    // One round now.
    [[nodiscard]] asio::awaitable<void> sample();

private:
    struct Look {
        std::shared_ptr<Metered> who;
        std::shared_ptr<const CgroupCounters> counters;
        std::vector<std::uint64_t> execs;
        Readings readings;
    };
    [[nodiscard]] asio::awaitable<void> read_disks(const std::vector<Look>& looks);

    control::Node& node_;
    IoPools& pools_;
    Store& store_;
    std::map<SandboxId, std::weak_ptr<Metered>> watched_;
    Event work_;
};

}  // namespace sandboxd::engine
