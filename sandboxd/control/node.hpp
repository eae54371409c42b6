#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "policies/limits.hpp"
#include "policies/profile.hpp"
#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::control {

namespace asio = boost::asio;

struct CreateSpec {
    SandboxId id;
    std::string template_name;
    std::string hostname;
    policies::Limits limits;
    bool allow_root = true;
    policies::Profile profile = policies::Profile::standard;
};

// What the holder of a sandbox needs to work with it without the monitor.
struct SandboxHandle {
    SandboxId id;
    Fd agent;       // connected to sandbox-init, nothing sent or received on it yet (agent/protocol.hpp)
    Fd memory_dir;  // cgroup folders of the sandbox: counters are read from here ("memory.usage_in_bytes" and
    Fd cpu_dir;     // "cpuacct.usage" on v1, "memory.current" and "cpu.stat" on v2), execs below work/e<N>
    Fd pids_dir;    // its folder in the pids tree: pids.events, on v1 in "work"
    bool cgroup_v2 = false;
    bool frozen = false;
};

struct NodeStatus {
    bool cgroup_v2 = false;
    std::string pool_kind;            // "btrfs_simple_quota", "btrfs_qgroup", "tmpfs"
    std::uint64_t pool_total_bytes = 0;
    std::uint64_t pool_free_bytes = 0;
    std::uint64_t memory_total_bytes = 0;
    std::uint64_t memory_available_bytes = 0;
    std::uint32_t cpus = 0;
    std::uint32_t sandboxes = 0;
    std::uint32_t sandboxes_max = 0;  // id ranges
    std::uint32_t removals_pending = 0;   // what the janitor has still to remove
    std::uint32_t removals_stuck = 0;     // what it could not remove for a minute (a process in D state)
    std::vector<std::string> templates;
    std::string refusal;                  // why creates are refused until the node is tested again; empty: they are taken
};

// What a self-test of the node saw, signed. The bytes of `payload`, a JSON text, are what was signed; docs/security.md
// says what is in it.
struct Attestation {
    std::string payload;
    std::string signature;   // Ed25519 (RFC 8032), 64 bytes
    std::string public_key;  // PEM (SubjectPublicKeyInfo)
    std::string fingerprint; // "sha256:" and the hex digest of that key's DER form
};
struct AttestRequest {
    std::string nonce;   // comes back in the payload; at most 128 of A-Z a-z 0-9 . _ -
    bool fresh = false;  // after a new test
};

enum class GoneReason { destroyed = 1, init_died = 2, lost = 3 };

// The monitor, as the API sees it. One implementation runs in the monitor itself (manager::Manager), the other is
// the client of the control protocol; both have the same semantics.
class Node {
public:
    virtual ~Node() = default;

    // node_full, disk_full, incompatible, not_found (template), conflict (id exists), timeout.
    [[nodiscard]] virtual asio::awaitable<Result<SandboxHandle>> create(CreateSpec spec, Deadline deadline) = 0;
    // Completes when no process of it is left; disks and folders follow in the background. Idempotent.
    [[nodiscard]] virtual asio::awaitable<Result<void>> destroy(SandboxId id, Deadline deadline) = 0;
    // A fresh agent connection (the old one ends), and the folders again.
    [[nodiscard]] virtual asio::awaitable<Result<SandboxHandle>> reconnect(SandboxId id, Deadline deadline) = 0;
    // All living sandboxes: after a restart of the API or the monitor.
    [[nodiscard]] virtual asio::awaitable<Result<std::vector<SandboxId>>> list(Deadline deadline) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<void>> set_frozen(SandboxId id, bool frozen, Deadline deadline) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<void>> set_limits(SandboxId id, policies::Limits limits, Deadline deadline) = 0;
    // Bytes on disk, in the order of `ids`; 0 for one that is gone. At most 512 ids.
    [[nodiscard]] virtual asio::awaitable<Result<std::vector<std::uint64_t>>> disk_usage(std::vector<SandboxId> ids, Deadline deadline) = 0;
    [[nodiscard]] virtual asio::awaitable<Result<NodeStatus>> status(Deadline deadline) = 0;
    // invalid_argument (nonce), rate_limited, unavailable (no test could be made).
    [[nodiscard]] virtual asio::awaitable<Result<Attestation>> attest(AttestRequest request, Deadline deadline) = 0;

    // Called on the node's executor when a sandbox ended without destroy() (its PID 1 died).
    std::function<void(SandboxId, GoneReason)> on_gone;
    // The daemon was told to stop: refuse new work, finish what runs, then drained().
    std::function<void(Deadline)> on_drain;
    virtual void drained() = 0;
};

}  // namespace sandboxd::control
