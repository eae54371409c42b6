#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "isolation/id_map.hpp"
#include "policies/limits.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::manager {

// What the monitor must know of a sandbox after its own death. Written before anything is made (intent, no process yet)
// and again when the jail runs. It has to survive a crash of the process, not of the machine: after a reboot no
// sandbox lives, so nothing waits for the disk.
struct SandboxState {
    SandboxId id;
    isolation::IdMap ids;
    std::string template_name;
    policies::Limits limits;
    sys::ProcessIdentity init;  // pid 0: intent
    std::uint32_t first_cpu = 0;  // CpuSpread
    isolation::Walls walls;       // as the init reported
    bool operator==(const SandboxState&) const = default;
};

class StateDirectory {
public:
    // Makes <state_dir>/sandboxes (0700).
    [[nodiscard]] static Result<StateDirectory> open(const std::string& state_dir);

    [[nodiscard]] Result<void> write(const SandboxState& state) const;
    [[nodiscard]] Result<void> remove(const SandboxId& id) const;  // idempotent
    struct Found {
        std::vector<SandboxState> states;
        std::vector<std::string> unreadable;  // names of files that hold no state
    };
    [[nodiscard]] Result<Found> read_all() const;

private:
    explicit StateDirectory(std::string path) : path_{std::move(path)} {}
    std::string path_;
};

[[nodiscard]] std::string to_json(const SandboxState& state);
[[nodiscard]] Result<SandboxState> parse_state(std::string_view json);

}  // namespace sandboxd::manager
