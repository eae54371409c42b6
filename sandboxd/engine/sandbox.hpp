#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policies/limits.hpp"
#include "sandboxd/core/clock.hpp"
#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/exec.hpp"
#include "sandboxd/engine/files.hpp"
#include "sandboxd/ledger/records.hpp"
#include "sandboxd/ledger/usage.hpp"

namespace sandboxd::engine {

enum class SandboxState { running, paused, ending, gone };
[[nodiscard]] std::string_view to_string(SandboxState state) noexcept;

struct SandboxUpdate {  // PATCH: what is set is changed
    std::optional<std::uint64_t> timeout_s;
    std::optional<ledger::OnTimeout> on_timeout;
    std::optional<std::map<std::string, std::string>> metadata;
    std::optional<policies::Limits> limits;
};

// A living sandbox. Shared between the engine's registry and sessions; after it is gone every call answers `gone`.
class Sandbox {
public:
    virtual ~Sandbox() = default;

    [[nodiscard]] virtual const ledger::SandboxRecord& record() const = 0;
    [[nodiscard]] virtual SandboxState state() const = 0;
    // When it will be killed or paused; none while an exec runs (the time counts from the last use).
    [[nodiscard]] virtual std::optional<WallTime> expires() const = 0;
    [[nodiscard]] virtual ledger::Usage usage() const = 0;

    // Completes once the program has been exec'd. conflict when paused, limit_exceeded at the number of execs,
    // command_not_found, forbidden (root), invalid_argument (cwd), gone.
    [[nodiscard]] virtual asio::awaitable<Result<ExecPtr>> exec(ExecRequest request, Deadline deadline) = 0;
    [[nodiscard]] virtual Result<ExecPtr> find_exec(const ExecId& id) = 0;
    // Living ones and the last finished ones, oldest first.
    [[nodiscard]] virtual std::vector<ExecPtr> execs() = 0;
    [[nodiscard]] virtual Files& files() = 0;
    // A connection to a port that a program inside listens on, also on 127.0.0.1 only. unavailable: nothing listens.
    [[nodiscard]] virtual asio::awaitable<Result<Fd>> connect(std::uint16_t port, Deadline deadline) = 0;

    [[nodiscard]] virtual asio::awaitable<Result<void>> update(SandboxUpdate update, Deadline deadline) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<void>> pause(Deadline deadline) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<void>> resume(Deadline deadline) = 0;
    // Restarts the time to live. Every exec and file call does so by itself.
    virtual void touch() = 0;
};

using SandboxPtr = std::shared_ptr<Sandbox>;

}  // namespace sandboxd::engine
