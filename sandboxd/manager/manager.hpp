#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "isolation/id_map.hpp"
#include "isolation/seccomp.hpp"
#include "sandboxd/control/node.hpp"
#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::manager {

namespace asio = boost::asio;

struct ManagerConfig {
    std::string state_dir;
    std::string instance;             // names the cgroup folder: "sandboxd-<instance>"
    Fd init_binary;                   // O_PATH of sandbox-init
    Fd sudo_client;                   // O_PATH of sandbox-sudo; none: no `sudo` in sandboxes
    std::string seccomp_profile;      // JSON texts: of the profile "default"
    std::string seccomp_strict;
    std::string seccomp_debug;
    std::string cgroup_parent;
    std::vector<std::string> unsafe_missing_controllers;
    std::string pool_device;
    std::uint64_t pool_bytes = 0;
    bool pool_tmpfs = true;
    std::uint32_t sandboxes_max = 2000;
};

// A sandbox of the daemon's own.
struct Unlisted {
    control::SandboxHandle handle;
    isolation::IdMap ids;
};

// Makes, finds and removes sandboxes: the only place where isolation and fs meet. Runs in the monitor, on one executor.
// A sandbox is not tied to this object's life: what lives when it goes is adopted by the next one.
class Manager : public control::Node {
public:
    // Opens the pool, the templates and the control groups, then joins what state files, cgroup folders and volumes
    // show: a sandbox whose PID 1 lives is adopted; everything else is removed, completely.
    [[nodiscard]] static asio::awaitable<Result<std::unique_ptr<Manager>>> start(asio::any_io_executor executor,
                                                                                ManagerConfig config);

    [[nodiscard]] virtual std::uint32_t api_fallback_id() const = 0;
    [[nodiscard]] virtual std::uint32_t probe_id() const = 0;  // see IdBlocks
    // Set by the owner: the API said that it has drained.
    std::function<void()> on_drained;
    // Set by the owner: answers attest(). Without it there is none (incompatible).
    std::function<asio::awaitable<Result<control::Attestation>>(control::AttestRequest, Deadline)> attest_with;

    // As create(), with the same recipe, for a self-test: list() and status() leave it out, and it is made while creates
    // are refused. destroy() ends it. One that is left from before a restart is listed, and so removed as a stranger.
    [[nodiscard]] virtual asio::awaitable<Result<Unlisted>> create_unlisted(control::CreateSpec spec, Deadline deadline) = 0;
    // From now on create() answers with this; nothing: it creates again. What lives goes on.
    virtual void refuse_creates(std::optional<Error> why) = 0;
    // Of the profile that sandboxes get unless they ask for another.
    [[nodiscard]] virtual const isolation::SeccompFilters& filters() const = 0;

    // Ends every sandbox and removes what they left. timeout when something is stuck.
    [[nodiscard]] virtual asio::awaitable<Result<void>> destroy_all(Deadline deadline) = 0;
    // Waits for removals under way; then, if no sandbox is left, unmounts the pool and removes the cgroup folder.
    [[nodiscard]] virtual asio::awaitable<Result<void>> stop(Deadline deadline) = 0;
};

}  // namespace sandboxd::manager
