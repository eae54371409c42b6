#include "sandboxd/control/client.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <unordered_map>

#include "sandboxd/control/protocol.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::control {

namespace {

struct Reply {
    Type type{};
    std::vector<std::byte> body;
    std::vector<Fd> fds;
};

struct Pending {
    explicit Pending(asio::any_io_executor executor) : arrived{std::move(executor)} {}
    Event arrived;
    std::vector<Reply> replies;
};

template <class Body>
Result<Body> decode(const Reply& reply) {
    wire::Reader reader{reply.body.data(), reply.body.size()};
    Body body;
    if (!decode_body(reader, body)) return Error{Errc::protocol_error, "control", "malformed reply of the monitor"};
    return body;
}

Result<SandboxHandle> to_handle(Reply reply) {
    SBX_TRY(const HandleReply body, decode<HandleReply>(reply));
    if (reply.fds.size() != 4) return Error{Errc::protocol_error, "control", "wrong number of descriptors"};
    SandboxHandle handle;
    handle.id = SandboxId::trusted(std::string{body.id});
    handle.agent = std::move(reply.fds[0]);
    handle.memory_dir = std::move(reply.fds[1]);
    handle.cpu_dir = std::move(reply.fds[2]);
    handle.pids_dir = std::move(reply.fds[3]);
    handle.cgroup_v2 = body.cgroup_v2;
    handle.frozen = body.frozen;
    return handle;
}

class ClientImpl final : public Client {
public:
    ClientImpl(asio::any_io_executor executor, Fd socket) : executor_{std::move(executor)}, socket_{std::move(socket)} {}

    asio::awaitable<void> run() override {
        for (;;) {
            auto ready = co_await wait_fd(socket_.get(), Ready::read, Deadline::never());
            if (!ready || !drain_socket()) break;
        }
        closed_ = true;
        for (auto& [number, pending] : pending_) pending->arrived.notify();
    }

    asio::awaitable<Result<SandboxHandle>> create(CreateSpec spec, Deadline deadline) override {
        Create body;
        body.id = spec.id.str();
        body.template_name = spec.template_name;
        body.hostname = spec.hostname;
        body.limits = to_wire(spec.limits);
        body.allow_root = spec.allow_root;
        body.profile = static_cast<std::uint8_t>(spec.profile);
        body.deadline_ms = milliseconds_left(deadline);
        SBX_CO_TRY(Reply reply, co_await call(Type::create, body, Type::handle, deadline));
        co_return to_handle(std::move(reply));
    }

    asio::awaitable<Result<void>> destroy(SandboxId id, Deadline deadline) override {
        return by_id(Type::destroy, std::move(id), 0, deadline);
    }

    asio::awaitable<Result<SandboxHandle>> reconnect(SandboxId id, Deadline deadline) override {
        IdRequest body;
        body.id = id.str();
        body.deadline_ms = milliseconds_left(deadline);
        SBX_CO_TRY(Reply reply, co_await call(Type::reconnect, body, Type::handle, deadline));
        co_return to_handle(std::move(reply));
    }

    asio::awaitable<Result<std::vector<SandboxId>>> list(Deadline deadline) override {
        const Empty empty;
        SBX_CO_TRY(const auto pending, send(Type::list, empty));
        const Leave leave{*this, pending.first};
        std::vector<SandboxId> out;
        for (;;) {
            SBX_CO_TRY(const Reply reply, co_await next(pending.second, Type::ids, deadline));
            SBX_CO_TRY(const Ids page, decode<Ids>(reply));
            for (std::string& id : split(page.ids)) out.push_back(SandboxId::trusted(std::move(id)));
            if (!page.more) co_return out;
        }
    }

    asio::awaitable<Result<void>> set_frozen(SandboxId id, bool frozen, Deadline deadline) override {
        return by_id(Type::set_frozen, std::move(id), frozen ? 1 : 0, deadline);
    }

    asio::awaitable<Result<void>> set_limits(SandboxId id, policies::Limits limits, Deadline deadline) override {
        SetLimits body;
        body.id = id.str();
        body.limits = to_wire(limits);
        SBX_CO_CHECK(co_await call(Type::set_limits, body, Type::ok, deadline));
        co_return Result<void>{};
    }

    asio::awaitable<Result<std::vector<std::uint64_t>>> disk_usage(std::vector<SandboxId> ids, Deadline deadline) override {
        std::vector<std::string> names;
        for (const SandboxId& id : ids) names.push_back(id.str());
        const std::string joined = join(names);
        Ids body;
        body.ids = joined;
        SBX_CO_TRY(const Reply reply, co_await call(Type::disk_usage, body, Type::sizes, deadline));
        SBX_CO_TRY(const Sizes sizes, decode<Sizes>(reply));
        std::vector<std::uint64_t> out(ids.size());
        if (sizes.sizes.size() != out.size() * sizeof(std::uint64_t)) {
            co_return Error{Errc::protocol_error, "control", "wrong number of sizes"};
        }
        std::memcpy(out.data(), sizes.sizes.data(), sizes.sizes.size());
        co_return out;
    }

    asio::awaitable<Result<NodeStatus>> status(Deadline deadline) override {
        const Empty empty;
        SBX_CO_TRY(const Reply reply, co_await call(Type::status, empty, Type::node_status, deadline));
        SBX_CO_TRY(const StatusReply body, decode<StatusReply>(reply));
        NodeStatus out;
        out.cgroup_v2 = body.cgroup_v2;
        out.pool_kind = std::string{body.pool_kind};
        out.pool_total_bytes = body.pool_total_bytes;
        out.pool_free_bytes = body.pool_free_bytes;
        out.memory_total_bytes = body.memory_total_bytes;
        out.memory_available_bytes = body.memory_available_bytes;
        out.cpus = body.cpus;
        out.sandboxes = body.sandboxes;
        out.sandboxes_max = body.sandboxes_max;
        out.removals_pending = body.removals_pending;
        out.removals_stuck = body.removals_stuck;
        out.templates = split(body.templates);
        out.refusal = std::string{body.refusal};
        co_return out;
    }

    asio::awaitable<Result<Attestation>> attest(AttestRequest request, Deadline deadline) override {
        Attest body;
        body.nonce = request.nonce;
        body.fresh = request.fresh;
        body.deadline_ms = milliseconds_left(deadline);
        SBX_CO_TRY(const Reply reply, co_await call(Type::attest, body, Type::attestation, deadline));
        SBX_CO_TRY(const AttestationReply answer, decode<AttestationReply>(reply));
        Attestation out;
        out.payload = std::string{answer.payload};
        out.signature = std::string{answer.signature};
        out.public_key = std::string{answer.public_key};
        out.fingerprint = std::string{answer.fingerprint};
        co_return out;
    }

    void drained() override {
        const Empty empty;
        (void)send_raw(Type::drained, 0, empty);  // if the monitor is gone there is nobody to tell
    }

private:
    using PendingPtr = std::shared_ptr<Pending>;

    struct Leave {
        ClientImpl& client;
        std::uint32_t request;
        ~Leave() { client.pending_.erase(request); }
    };

    template <class Body>
    Result<void> send_raw(Type type, std::uint32_t request, const Body& body) {
        std::array<std::byte, kMaxMessage> buffer;
        const std::size_t size = encode(buffer.data(), buffer.size(), type, request, body);
        if (size == 0) return Error{Errc::payload_too_large, "control", "request does not fit a message"};
        return sys::send_message(socket_.get(), std::span{buffer}.first(size));
    }

    template <class Body>
    Result<std::pair<std::uint32_t, PendingPtr>> send(Type type, const Body& body) {
        if (closed_) return Error{Errc::unavailable, "control", "the monitor is gone"};
        if (pending_.size() >= kMaxRequests) return Error{Errc::unavailable, "control", "too many requests under way"};
        do {
            ++last_request_;
        } while (last_request_ == 0 || pending_.contains(last_request_));
        // EAGAIN (a full socket buffer) becomes `unavailable`: the monitor is far behind, queueing more would not help.
        SBX_CHECK(send_raw(type, last_request_, body));
        auto pending = std::make_shared<Pending>(executor_);
        pending_.emplace(last_request_, pending);
        return std::pair{last_request_, std::move(pending)};
    }

    asio::awaitable<Result<Reply>> next(PendingPtr pending, Type expected, Deadline deadline) {
        while (pending->replies.empty()) {
            if (closed_) co_return Error{Errc::unavailable, "control", "the monitor is gone"};
            SBX_CO_CHECK(co_await pending->arrived.wait(deadline));
        }
        Reply reply = std::move(pending->replies.front());
        pending->replies.erase(pending->replies.begin());
        if (reply.type == Type::error) {
            SBX_CO_TRY(const ErrorReply body, decode<ErrorReply>(reply));
            co_return from_wire(body);
        }
        if (reply.type != expected) co_return Error{Errc::protocol_error, "control", "unexpected reply of the monitor"};
        co_return reply;
    }

    template <class Body>
    asio::awaitable<Result<Reply>> call(Type type, const Body& body, Type expected, Deadline deadline) {
        // Sent before the first suspension: `body` points into the caller's frame.
        auto sent = send(type, body);
        if (!sent) co_return std::move(sent).error();
        const Leave leave{*this, sent->first};
        co_return co_await next(sent->second, expected, deadline);
    }

    asio::awaitable<Result<void>> by_id(Type type, SandboxId id, std::uint32_t value, Deadline deadline) {
        IdRequest body;
        body.id = id.str();
        body.value = value;
        body.deadline_ms = milliseconds_left(deadline);
        SBX_CO_CHECK(co_await call(type, body, Type::ok, deadline));
        co_return Result<void>{};
    }

    // False when the monitor is gone.
    bool drain_socket() {
        for (;;) {
            auto received = sys::receive_message(socket_.get(), buffer_);
            if (!received) return received.error().is_errno(EAGAIN);
            if (received->size == 0) return false;
            dispatch(*std::move(received));
        }
    }

    void dispatch(sys::Received received) {
        wire::Reader reader{buffer_.data(), received.size};
        Header header;
        if (!decode_header(reader, header)) {
            log::error("control message of another version", {{"bytes", received.size}});
            return;
        }
        if (header.request == 0) return event(header.type, reader);
        const auto found = pending_.find(header.request);
        if (found == pending_.end()) return;  // its caller gave up; the descriptors close here
        Reply reply;
        reply.type = header.type;
        const std::size_t at = received.size - reader.left();
        reply.body.assign(buffer_.begin() + static_cast<std::ptrdiff_t>(at),
                          buffer_.begin() + static_cast<std::ptrdiff_t>(received.size));
        reply.fds = std::move(received.fds);
        found->second->replies.push_back(std::move(reply));
        found->second->arrived.notify();
    }

    void event(Type type, wire::Reader& reader) {
        if (type == Type::gone) {
            IdRequest body;
            if (decode_body(reader, body) && on_gone) {
                on_gone(SandboxId::trusted(std::string{body.id}), static_cast<GoneReason>(body.value));
            }
        } else if (type == Type::drain) {
            DrainEvent body;
            if (decode_body(reader, body) && on_drain) on_drain(Deadline::after(std::chrono::milliseconds{body.deadline_ms}));
        }
    }

    asio::any_io_executor executor_;
    Fd socket_;
    bool closed_ = false;
    std::uint32_t last_request_ = 0;
    std::unordered_map<std::uint32_t, PendingPtr> pending_;
    std::array<std::byte, kMaxMessage> buffer_{};
};

}  // namespace

std::unique_ptr<Client> Client::make(asio::any_io_executor executor, Fd socket) {
    return std::make_unique<ClientImpl>(std::move(executor), std::move(socket));
}

}  // namespace sandboxd::control
