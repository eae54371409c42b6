#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sandboxd/control/node.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/core/wire.hpp"

// The control protocol: sandboxd-api (client) <-> the monitor (server), one inherited SOCK_SEQPACKET socket pair, one
// message per packet, descriptors by SCM_RIGHTS. The monitor trusts nothing in it: every field is validated again.
namespace sandboxd::control {

inline constexpr std::uint32_t kMagic = 0x31435853;  // "SXC1"
inline constexpr std::uint16_t kVersion = 1;
inline constexpr std::size_t kMaxMessage = 64 * 1024;
inline constexpr std::size_t kMaxIds = 512;        // per message; longer lists come in several
inline constexpr std::size_t kMaxRequests = 4096;  // under way per connection

enum class Type : std::uint16_t {
    // client -> server; the reply carries the same request number
    hello = 1,       // -> ok
    create = 2,      // -> handle + 3 fds, or error
    destroy = 3,     // -> ok or error
    reconnect = 4,   // -> handle + 3 fds, or error
    list = 5,        // -> ids, `more` until the last
    set_frozen = 6,  // -> ok or error
    set_limits = 7,  // -> ok or error
    disk_usage = 8,  // -> sizes
    status = 9,      // -> node_status
    drained = 10,    // no reply
    attest = 11,     // -> attestation, or error
    // server -> client
    ok = 64,
    error = 65,
    handle = 66,
    ids = 67,
    sizes = 68,
    node_status = 69,
    attestation = 70,
    // events: request number 0
    gone = 96,
    drain = 97,
};

struct Header {
    std::uint32_t magic = kMagic;
    std::uint16_t version = kVersion;
    Type type{};
    std::uint32_t request = 0;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.magic) && a(s.version) && a(s.type) && a(s.request); }
};

struct Empty {
    template <class A, class S>
    static bool visit(A&, S&) { return true; }
};

struct WireLimits {
    std::uint32_t cpu_milli = 0;
    std::uint64_t memory_bytes = 0;
    std::uint64_t disk_bytes = 0;
    std::uint32_t pids = 0;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.cpu_milli) && a(s.memory_bytes) && a(s.disk_bytes) && a(s.pids); }
};
[[nodiscard]] WireLimits to_wire(const policies::Limits& limits) noexcept;
[[nodiscard]] policies::Limits from_wire(const WireLimits& limits) noexcept;

struct Create {
    std::string_view id;
    std::string_view template_name;
    std::string_view hostname;
    WireLimits limits;
    bool allow_root = false;
    std::uint8_t profile = 0;  // policies::Profile
    std::uint32_t deadline_ms = 0;
    template <class A, class S>
    static bool visit(A& a, S& s) {
        return a(s.id) && a(s.template_name) && a(s.hostname) && a(s.limits) && a(s.allow_root) && a(s.profile) && a(s.deadline_ms);
    }
};

struct IdRequest {  // destroy, reconnect, set_frozen (flag), gone (value: GoneReason)
    std::string_view id;
    std::uint32_t value = 0;
    std::uint32_t deadline_ms = 0;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.id) && a(s.value) && a(s.deadline_ms); }
};

struct SetLimits {
    std::string_view id;
    WireLimits limits;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.id) && a(s.limits); }
};

struct HandleReply {  // descriptors: agent, memory_dir, cpu_dir, pids_dir
    std::string_view id;
    bool cgroup_v2 = false;
    bool frozen = false;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.id) && a(s.cgroup_v2) && a(s.frozen); }
};

struct Ids {  // ids joined by ','
    bool more = false;
    std::string_view ids;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.more) && a(s.ids); }
};

struct Sizes {  // 8 bytes each, little-endian
    std::string_view sizes;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.sizes); }
};

struct StatusReply {
    bool cgroup_v2 = false;
    std::string_view pool_kind;
    std::uint64_t pool_total_bytes = 0;
    std::uint64_t pool_free_bytes = 0;
    std::uint64_t memory_total_bytes = 0;
    std::uint64_t memory_available_bytes = 0;
    std::uint32_t cpus = 0;
    std::uint32_t sandboxes = 0;
    std::uint32_t sandboxes_max = 0;
    std::uint32_t removals_pending = 0;
    std::uint32_t removals_stuck = 0;
    std::string_view templates;  // joined by ','
    std::string_view refusal;
    template <class A, class S>
    static bool visit(A& a, S& s) {
        return a(s.cgroup_v2) && a(s.pool_kind) && a(s.pool_total_bytes) && a(s.pool_free_bytes) && a(s.memory_total_bytes) &&
               a(s.memory_available_bytes) && a(s.cpus) && a(s.sandboxes) && a(s.sandboxes_max) && a(s.removals_pending) &&
               a(s.removals_stuck) && a(s.templates) && a(s.refusal);
    }
};

struct Attest {
    std::string_view nonce;
    bool fresh = false;
    std::uint32_t deadline_ms = 0;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.nonce) && a(s.fresh) && a(s.deadline_ms); }
};

struct AttestationReply {
    std::string_view payload;
    std::string_view signature;
    std::string_view public_key;
    std::string_view fingerprint;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.payload) && a(s.signature) && a(s.public_key) && a(s.fingerprint); }
};

struct DrainEvent {
    std::uint32_t deadline_ms = 0;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.deadline_ms); }
};

struct WireFact {
    std::string_view key;
    bool is_number = false;
    std::int64_t number = 0;
    std::string_view text;
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.key) && a(s.is_number) && a(s.number) && a(s.text); }
};

inline constexpr std::size_t kMaxFacts = 8;

struct ErrorReply {
    bool is_errno = false;
    std::int32_t value = 0;
    std::string_view operation;
    std::string_view detail;
    WireFact facts[kMaxFacts];  // an empty key ends the list
    template <class A, class S>
    static bool visit(A& a, S& s) { return a(s.is_errno) && a(s.value) && a(s.operation) && a(s.detail) && a(s.facts); }
};
// `reply` points into `error`.
[[nodiscard]] ErrorReply to_wire(const Error& error) noexcept;
[[nodiscard]] Error from_wire(const ErrorReply& reply);

[[nodiscard]] std::string join(const std::vector<std::string>& items);
[[nodiscard]] std::vector<std::string> split(std::string_view joined);

// Time left, for the other side of the socket; at least 1 ms, at most an hour.
[[nodiscard]] std::uint32_t milliseconds_left(Deadline deadline);

template <class Body>
[[nodiscard]] std::size_t encode(std::byte* buffer, std::size_t capacity, Type type, std::uint32_t request, const Body& body) {
    wire::Writer writer{buffer, capacity};
    Header header;
    header.type = type;
    header.request = request;
    return writer(header) && writer(body) ? writer.size() : 0;
}

[[nodiscard]] inline bool decode_header(wire::Reader& reader, Header& header) {
    return reader(header) && header.magic == kMagic && header.version == kVersion;
}

template <class Body>
[[nodiscard]] bool decode_body(wire::Reader& reader, Body& body) {
    return reader(body) && reader.done();
}

}  // namespace sandboxd::control
