#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <optional>

#include "isolation/cgroup.hpp"
#include "isolation/jail.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/manager/state_file.hpp"

namespace sandboxd::manager {

// One sandbox in the monitor's table.
struct Entry {
    enum class Phase { creating, running, ending };

    Entry(asio::any_io_executor executor, SandboxState s) : state{std::move(s)}, changed{std::move(executor)} {}

    SandboxState state;
    Phase phase = Phase::creating;
    bool frozen = false;
    bool unlisted = false;       // the daemon's own: not the API's to see or to count
    bool destroy_asked = false;  // its end is expected: nobody is told that it died
    std::unique_ptr<isolation::SandboxCgroup> cgroup;
    std::optional<isolation::Jail> jail;
    Event changed;  // phase changed, or no process of it is left
    bool dead = false;
};

using EntryPtr = std::shared_ptr<Entry>;

}  // namespace sandboxd::manager
