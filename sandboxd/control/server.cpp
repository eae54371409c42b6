#include "sandboxd/control/server.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>

#include "sandboxd/control/protocol.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::control {

namespace {

constexpr std::chrono::seconds kQuick{10};  // for calls that the monitor answers at once

Deadline deadline_of(std::uint32_t milliseconds) {
    return Deadline::after(std::chrono::milliseconds{std::clamp<std::uint32_t>(milliseconds, 1, 3'600'000)});
}

// Ids were made by the API, a less privileged process: here they become names of folders, so the shape is checked again.
Result<SandboxId> checked_id(std::string_view text) {
    const auto ok = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    if (text.size() < 8 || text.size() > 40 || !std::all_of(text.begin(), text.end(), ok)) {
        return Error{Errc::invalid_argument, "control", "malformed sandbox id"};
    }
    return SandboxId::trusted(std::string{text});
}

class ServerImpl final : public Server {
public:
    ServerImpl(asio::any_io_executor executor, Node& node, Fd socket)
        : node_{node}, socket_{std::move(socket)}, tasks_{std::move(executor)} {}

    asio::awaitable<void> run() override {
        for (;;) {
            auto ready = co_await wait_fd(socket_.get(), Ready::read, Deadline::never());
            if (!ready || !drain_socket()) break;
        }
        // A create that is under way finishes: the sandbox is adopted or removed by whoever connects next.
        (void)co_await tasks_.join(Deadline::never());
    }

    void send_gone(const SandboxId& id, GoneReason reason) override {
        IdRequest body;
        body.id = id.str();
        body.value = static_cast<std::uint32_t>(reason);
        reply(Type::gone, 0, body);
    }

    void send_drain(Deadline deadline) override {
        DrainEvent body;
        body.deadline_ms = milliseconds_left(deadline);
        reply(Type::drain, 0, body);
    }

private:
    template <class Body>
    void reply(Type type, std::uint32_t request, const Body& body, std::span<const int> fds = {}) {
        std::array<std::byte, kMaxMessage> buffer;
        const std::size_t size = encode(buffer.data(), buffer.size(), type, request, body);
        auto sent = size == 0 ? Result<void>{Error{Errc::payload_too_large, "control"}}
                              : sys::send_message(socket_.get(), std::span{buffer}.first(size), fds);
        // A peer that does not take its replies gets deadlines on its side; nothing is kept for it here.
        if (!sent) log::warn("reply to the API lost", {{"error", sent.error()}});
    }

    void reply_error(std::uint32_t request, const Error& error) { reply(Type::error, request, to_wire(error)); }

    void reply_void(std::uint32_t request, const Result<void>& result) {
        const Empty empty;
        if (result) return reply(Type::ok, request, empty);
        reply_error(request, result.error());
    }

    void reply_handle(std::uint32_t request, const Result<SandboxHandle>& handle) {
        if (!handle) return reply_error(request, handle.error());
        HandleReply body;
        body.id = handle->id.str();
        body.cgroup_v2 = handle->cgroup_v2;
        body.frozen = handle->frozen;
        const std::array<int, 4> fds{handle->agent.get(), handle->memory_dir.get(), handle->cpu_dir.get(), handle->pids_dir.get()};
        reply(Type::handle, request, body, fds);
    }

    bool drain_socket() {
        for (;;) {
            auto received = sys::receive_message(socket_.get(), buffer_);
            if (!received) return received.error().is_errno(EAGAIN);
            if (received->size == 0) return false;
            if (!received->fds.empty() || !dispatch(received->size)) {
                log::error("the API broke the control protocol", {{"bytes", received->size}});
                return false;
            }
        }
    }

    bool dispatch(std::size_t size) {
        wire::Reader reader{buffer_.data(), size};
        Header header;
        if (!decode_header(reader, header)) return false;
        if (tasks_.size() >= kMaxRequests) {
            reply_error(header.request, Error{Errc::unavailable, "control", "too many requests under way"});
            return true;
        }
        switch (header.type) {
            case Type::hello: return start_hello(header.request, reader);
            case Type::create: return start_create(header.request, reader);
            case Type::destroy: case Type::reconnect: case Type::set_frozen: return start_by_id(header, reader);
            case Type::list: tasks_.spawn("list", list(header.request)); return reader.done();
            case Type::set_limits: return start_set_limits(header.request, reader);
            case Type::disk_usage: return start_disk_usage(header.request, reader);
            case Type::status: tasks_.spawn("status", status(header.request)); return reader.done();
            case Type::drained: node_.drained(); return reader.done();
            case Type::attest: return start_attest(header.request, reader);
            default: return false;
        }
    }

    bool start_hello(std::uint32_t request, wire::Reader& reader) {
        reply_void(request, Result<void>{});
        return reader.done();
    }

    bool start_create(std::uint32_t request, wire::Reader& reader) {
        Create body;
        if (!decode_body(reader, body)) return false;
        auto id = checked_id(body.id);
        if (!id) {
            reply_error(request, id.error());
            return true;
        }
        CreateSpec spec;
        spec.id = *std::move(id);
        spec.template_name = std::string{body.template_name};
        spec.hostname = std::string{body.hostname};
        spec.limits = from_wire(body.limits);
        spec.allow_root = body.allow_root;
        if (body.profile >= policies::kProfiles) {
            reply_error(request, Error{Errc::invalid_argument, "profile", "unknown"});
            return true;
        }
        spec.profile = static_cast<policies::Profile>(body.profile);
        tasks_.spawn("create", create(request, std::move(spec), deadline_of(body.deadline_ms)));
        return true;
    }

    bool start_by_id(const Header& header, wire::Reader& reader) {
        IdRequest body;
        if (!decode_body(reader, body)) return false;
        auto id = checked_id(body.id);
        if (!id) {
            reply_error(header.request, id.error());
            return true;
        }
        const Deadline deadline = deadline_of(body.deadline_ms);
        if (header.type == Type::destroy) {
            tasks_.spawn("destroy", destroy(header.request, *std::move(id), deadline));
        } else if (header.type == Type::reconnect) {
            tasks_.spawn("reconnect", reconnect(header.request, *std::move(id), deadline));
        } else {
            tasks_.spawn("set_frozen", set_frozen(header.request, *std::move(id), body.value == 1, deadline));
        }
        return true;
    }

    bool start_set_limits(std::uint32_t request, wire::Reader& reader) {
        SetLimits body;
        if (!decode_body(reader, body)) return false;
        auto id = checked_id(body.id);
        if (!id) {
            reply_error(request, id.error());
            return true;
        }
        tasks_.spawn("set_limits", set_limits(request, *std::move(id), from_wire(body.limits)));
        return true;
    }

    bool start_disk_usage(std::uint32_t request, wire::Reader& reader) {
        Ids body;
        if (!decode_body(reader, body)) return false;
        std::vector<SandboxId> ids;
        for (const std::string& text : split(body.ids)) {
            auto id = checked_id(text);
            if (!id || ids.size() == kMaxIds) {
                reply_error(request, Error{Errc::invalid_argument, "control", "malformed list of ids"});
                return true;
            }
            ids.push_back(*std::move(id));
        }
        tasks_.spawn("disk_usage", disk_usage(request, std::move(ids)));
        return true;
    }

    bool start_attest(std::uint32_t request, wire::Reader& reader) {
        Attest body;
        if (!decode_body(reader, body)) return false;
        AttestRequest asked;
        asked.nonce = std::string{body.nonce};
        asked.fresh = body.fresh;
        tasks_.spawn("attest", attest(request, std::move(asked), deadline_of(body.deadline_ms)));
        return true;
    }

    asio::awaitable<void> attest(std::uint32_t request, AttestRequest asked, Deadline deadline) {
        auto attestation = co_await node_.attest(std::move(asked), deadline);
        if (!attestation) {
            reply_error(request, attestation.error());
            co_return;
        }
        AttestationReply body;
        body.payload = attestation->payload;
        body.signature = attestation->signature;
        body.public_key = attestation->public_key;
        body.fingerprint = attestation->fingerprint;
        reply(Type::attestation, request, body);
    }

    asio::awaitable<void> create(std::uint32_t request, CreateSpec spec, Deadline deadline) {
        auto handle = co_await node_.create(std::move(spec), deadline);
        reply_handle(request, handle);
    }

    asio::awaitable<void> destroy(std::uint32_t request, SandboxId id, Deadline deadline) {
        auto done = co_await node_.destroy(std::move(id), deadline);
        reply_void(request, done);
    }

    asio::awaitable<void> reconnect(std::uint32_t request, SandboxId id, Deadline deadline) {
        auto handle = co_await node_.reconnect(std::move(id), deadline);
        reply_handle(request, handle);
    }

    asio::awaitable<void> set_frozen(std::uint32_t request, SandboxId id, bool frozen, Deadline deadline) {
        auto done = co_await node_.set_frozen(std::move(id), frozen, deadline);
        reply_void(request, done);
    }

    asio::awaitable<void> set_limits(std::uint32_t request, SandboxId id, policies::Limits limits) {
        const Deadline deadline = Deadline::after(kQuick);
        auto done = co_await node_.set_limits(std::move(id), limits, deadline);
        reply_void(request, done);
    }

    asio::awaitable<void> list(std::uint32_t request) {
        const Deadline deadline = Deadline::after(kQuick);
        auto ids = co_await node_.list(deadline);
        if (!ids) {
            reply_error(request, ids.error());
            co_return;
        }
        std::size_t at = 0;
        do {
            std::vector<std::string> page;
            for (; at < ids->size() && page.size() < kMaxIds; ++at) page.push_back((*ids)[at].str());
            const std::string joined = join(page);
            Ids body;
            body.more = at < ids->size();
            body.ids = joined;
            reply(Type::ids, request, body);
        } while (at < ids->size());
    }

    asio::awaitable<void> disk_usage(std::uint32_t request, std::vector<SandboxId> ids) {
        const Deadline deadline = Deadline::after(kQuick);
        auto sizes = co_await node_.disk_usage(std::move(ids), deadline);
        if (!sizes) {
            reply_error(request, sizes.error());
            co_return;
        }
        Sizes body;
        body.sizes = {reinterpret_cast<const char*>(sizes->data()), sizes->size() * sizeof(std::uint64_t)};
        reply(Type::sizes, request, body);
    }

    asio::awaitable<void> status(std::uint32_t request) {
        const Deadline deadline = Deadline::after(kQuick);
        auto status = co_await node_.status(deadline);
        if (!status) {
            reply_error(request, status.error());
            co_return;
        }
        const std::string templates = join(status->templates);
        StatusReply body;
        body.cgroup_v2 = status->cgroup_v2;
        body.pool_kind = status->pool_kind;
        body.pool_total_bytes = status->pool_total_bytes;
        body.pool_free_bytes = status->pool_free_bytes;
        body.memory_total_bytes = status->memory_total_bytes;
        body.memory_available_bytes = status->memory_available_bytes;
        body.cpus = status->cpus;
        body.sandboxes = status->sandboxes;
        body.sandboxes_max = status->sandboxes_max;
        body.removals_pending = status->removals_pending;
        body.removals_stuck = status->removals_stuck;
        body.templates = templates;
        body.refusal = status->refusal;
        reply(Type::node_status, request, body);
    }

    Node& node_;
    Fd socket_;
    std::array<std::byte, kMaxMessage> buffer_{};
    TaskGroup tasks_;
};

}  // namespace

std::unique_ptr<Server> Server::make(asio::any_io_executor executor, Node& node, Fd socket) {
    return std::make_unique<ServerImpl>(std::move(executor), node, std::move(socket));
}

}  // namespace sandboxd::control
