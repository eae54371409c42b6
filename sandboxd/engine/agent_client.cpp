#include "sandboxd/engine/agent_client.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::engine {

namespace {

constexpr std::size_t kMaxPending = 256;
constexpr std::uint32_t kMaxViolations = 32;  // replies may come after their request timed out; more is no accident
constexpr int kMessagesPerTurn = 32;
constexpr auto kSyncTime = std::chrono::seconds{10};
constexpr auto kDialTime = std::chrono::seconds{5};
constexpr std::chrono::milliseconds kFirstPause{10};
constexpr std::chrono::milliseconds kLongestPause{5000};
constexpr auto kStableAfter = std::chrono::seconds{30};

// One buffer for all sandboxes: receiving and encoding never wait, and there is one thread.
std::array<std::byte, agent::kMaxMessage>& scratch() {
    static thread_local std::array<std::byte, agent::kMaxMessage> buffer;
    return buffer;
}

Error gone() { return Error{Errc::gone, "sandbox", "it has ended"}; }
Error broken() { return Error{Errc::unavailable, "agent", "the connection to the sandbox's agent broke; try again"}; }

}  // namespace

AgentClient::AgentClient(asio::any_io_executor executor, Dial dial, AgentListener& listener)
    : executor_{executor}, dial_{std::move(dial)}, listener_{&listener}, changed_{executor} {}

// ---- requests --------------------------------------------------------------------------------------------------------

AgentClient::Message AgentClient::encode(const std::function<std::size_t(std::byte*, std::size_t, std::uint32_t)>& write) {
    Message message;
    message.number = next_number_++;
    if (next_number_ == 0) next_number_ = 1;  // 0 marks events
    const std::size_t size = write(scratch().data(), scratch().size(), message.number);
    message.bytes.assign(reinterpret_cast<const char*>(scratch().data()), size);
    return message;
}

asio::awaitable<Result<void>> AgentClient::until_ready(Deadline deadline) {
    const auto self = shared_from_this();
    while (!ready_ && !closed_) {
        auto woken = co_await changed_.wait(deadline);
        if (!woken && woken.error().is(Errc::timeout)) {
            co_return Error{Errc::unavailable, "agent", "the sandbox's agent can't be reached; try again"};
        }
        if (!woken) co_return woken;
    }
    if (closed_) co_return gone();
    co_return Result<void>{};
}

asio::awaitable<Result<AgentReply>> AgentClient::call(Message message, Fd attachment, Deadline deadline) {
    const auto self = shared_from_this();
    if (message.bytes.empty()) co_return Error{Errc::payload_too_large, "agent", "the request is too large for one message"};
    SBX_CO_CHECK(co_await until_ready(deadline));
    if (pending_.size() >= kMaxPending) co_return Error{Errc::unavailable, "agent", "too many requests to this sandbox are under way"};
    Pending pending{executor_};
    struct Listed {
        std::map<std::uint32_t, Pending*>& list;
        std::uint32_t number;
        Listed(std::map<std::uint32_t, Pending*>& l, std::uint32_t n, Pending* p) : list{l}, number{n} { list.emplace(n, p); }
        ~Listed() { list.erase(number); }
    } listed{pending_, message.number, &pending};
    SBX_CO_CHECK(co_await send(message, attachment, deadline));
    while (!pending.result) SBX_CO_CHECK(co_await pending.done.wait(deadline));
    co_return std::move(*pending.result);
}

asio::awaitable<Result<void>> AgentClient::confirm(asio::awaitable<Result<AgentReply>> reply, std::string operation) {
    SBX_CO_TRY(const AgentReply answer, co_await std::move(reply));
    co_return answer.check(agent::Type::ok, 0, operation);
}

asio::awaitable<Result<void>> AgentClient::send(const Message& message, const Fd& attachment, Deadline deadline) {
    const std::uint32_t generation = generation_;
    const std::span<const std::byte> bytes = std::as_bytes(std::span{message.bytes});
    const int fd = attachment.get();
    const std::span<const int> fds{&fd, attachment.valid() ? 1U : 0U};
    for (;;) {
        while (sending_) SBX_CO_CHECK(co_await changed_.wait(deadline));
        if (closed_) co_return gone();
        if (generation != generation_ || !ready_) co_return broken();
        auto sent = sys::send_message(socket_.get(), bytes, fds);
        if (!sent && sent.error().is_errno(EMSGSIZE)) co_return Error{Errc::payload_too_large, "agent", "the request is too large"};
        if (sent || !sent.error().is_errno(EAGAIN)) co_return sent;
        struct Turn {
            AgentClient& client;
            explicit Turn(AgentClient& c) : client{c} { client.sending_ = true; }
            ~Turn() {
                client.sending_ = false;
                client.changed_.notify();
            }
        } turn{*this};
        // A descriptor of its own: one can be waited for in one direction only, and the connection may be replaced.
        SBX_CO_TRY(const Fd writer, sys::dup(socket_.get()));
        SBX_CO_CHECK(co_await wait_fd(writer.get(), Ready::write, deadline));
    }
}

// ---- connection ------------------------------------------------------------------------------------------------------

asio::awaitable<void> AgentClient::run(Fd first, Start start) {
    const auto self = shared_from_this();
    std::chrono::milliseconds pause = kFirstPause;
    Fd socket = std::move(first);
    while (!closed_) {
        if (held_ && !socket.valid()) {
            if (auto ok = co_await changed_.wait(Deadline::never()); !ok) co_return;
            continue;
        }
        if (!socket.valid()) {
            auto dialed = co_await dial_(Deadline::after(kDialTime));
            if (closed_) co_return;
            if (!dialed && dialed.error().errc() == Errc::not_found) {
                listener_->agent_gone();
                co_return;
            }
            if (dialed) socket = *std::move(dialed);
        }
        if (socket.valid()) {
            const auto begun = std::chrono::steady_clock::now();
            const Error why = co_await serve(std::move(socket), start);
            if (closed_ || why.is(Errc::canceled)) co_return;
            log::warn("the connection to a sandbox's agent ended", {{"error", why}});
            if (std::chrono::steady_clock::now() - begun > kStableAfter) pause = kFirstPause;
        }
        socket = Fd{};
        start = Start::resume;
        if (auto ok = co_await sleep_until(Deadline::after(pause)); !ok) co_return;
        pause = std::min(pause * 2, kLongestPause);
    }
}

asio::awaitable<Error> AgentClient::serve(Fd socket, Start start) {
    socket_ = std::move(socket);
    ++generation_;
    violations_ = 0;
    struct Connected {
        AgentClient& client;
        explicit Connected(AgentClient& c) : client{c} {}
        ~Connected() {
            client.ready_ = false;
            client.sync_.reset();
            client.socket_.reset();
            client.fail_pending(client.closed_ ? gone() : broken());
        }
    } connected{*this};
    if (auto greeted = greet(start); !greeted) co_return std::move(greeted).error();
    for (;;) {
        const Deadline deadline = sync_ && !held_ ? sync_->deadline : Deadline::never();
        auto readable = co_await wait_fd(socket_.get(), Ready::read, deadline);
        if (closed_) co_return gone();
        if (!readable && held_ && readable.error().is(Errc::timeout)) continue;
        if (!readable) co_return std::move(readable).error();
        if (auto received = receive_some(); !received) co_return std::move(received).error();
    }
}

Result<void> AgentClient::greet(Start start) {
    const Message hello = encode([](std::byte* buffer, std::size_t capacity, std::uint32_t number) {
        return agent::encode(buffer, capacity, agent::Type::hello, number, agent::Empty{});
    });
    SBX_CHECK(sys::send_message(socket_.get(), std::as_bytes(std::span{hello.bytes})));
    sync_.emplace();
    sync_->request = hello.number;
    sync_->deadline = Deadline::after(kSyncTime);
    // The init reads in order: what follows the first hello is answered after it, and there is nothing to be told before.
    if (start == Start::fresh) {
        ready_ = true;
        changed_.notify();
    }
    return {};
}

// Bounded: a flood gives way to other sandboxes after each turn.
Result<void> AgentClient::receive_some() {
    for (int i = 0; i < kMessagesPerTurn; ++i) {
        auto received = sys::receive_message(socket_.get(), scratch());
        if (!received && received.error().is_errno(EAGAIN)) return {};
        if (!received) return std::move(received).error();
        if (received->size == 0) return Error{Errc::unavailable, "agent", "hung up"};
        SBX_CHECK(take(std::span<const std::byte>{scratch()}.first(received->size), std::move(received->fds)));
        if (closed_) return gone();
    }
    return {};
}

Result<void> AgentClient::take(std::span<const std::byte> bytes, std::vector<Fd> fds) {
    wire::Reader reader{bytes.data(), bytes.size()};
    agent::Header header;
    if (!agent::decode_header(reader, header)) return Error{Errc::protocol_error, "agent", "a message of another protocol"};
    if (header.request == 0) {
        if (!fds.empty()) return violation("an event with descriptors");
        return take_event(header.type, reader);
    }
    if (sync_ && header.request == sync_->request) return take_sync(header.type, reader, std::move(fds));
    const auto waiting = pending_.find(header.request);
    if (waiting == pending_.end() || waiting->second->result) return violation("a reply that nobody waits for");
    AgentReply reply;
    reply.type = header.type;
    reply.body.assign(reinterpret_cast<const char*>(bytes.data() + bytes.size() - reader.left()), reader.left());
    reply.fds = std::move(fds);
    waiting->second->result = std::move(reply);
    waiting->second->done.notify();
    return {};
}

Result<void> AgentClient::take_sync(agent::Type type, wire::Reader& reader, std::vector<Fd> fds) {
    const Error malformed{Errc::protocol_error, "agent", "a malformed greeting"};
    if (type == agent::Type::hello_ok) {
        agent::HelloOk ok;
        if (sync_->announced || !fds.empty() || !agent::decode_body(reader, ok) || ok.execs > agent::kMaxExecs) return malformed;
        sync_->announced = ok.execs;
        return {};
    }
    if (!sync_->announced) return malformed;
    if (type == agent::Type::exec_state) return take_exec_state(reader, std::move(fds));
    agent::Empty done;
    // Fewer than announced (the init's buffer was full): what is missing would count as lost, so ask again.
    if (type != agent::Type::sync_done || !fds.empty() || !agent::decode_body(reader, done) || sync_->held.size() != *sync_->announced) {
        return malformed;
    }
    std::vector<HeldExec> held = std::move(sync_->held);
    sync_.reset();
    const bool was_ready = std::exchange(ready_, true);
    // A fresh init holds nothing, and its silence must not count against an exec that was asked for meanwhile.
    if (!was_ready || !held.empty()) listener_->synced(std::move(held));
    changed_.notify();
    return {};
}

Result<void> AgentClient::take_exec_state(wire::Reader& reader, std::vector<Fd> fds) {
    HeldExec held;
    const auto same = [&](const HeldExec& other) { return other.state.exec == held.state.exec; };
    if (sync_->held.size() >= *sync_->announced || fds.size() > agent::kMaxFds || !agent::decode_body(reader, held.state) ||
        std::any_of(sync_->held.begin(), sync_->held.end(), same)) {
        return Error{Errc::protocol_error, "agent", "a malformed exec_state"};
    }
    held.fds = std::move(fds);
    sync_->held.push_back(std::move(held));
    return {};
}

Result<void> AgentClient::take_event(agent::Type type, wire::Reader& reader) {
    if (type == agent::Type::exec_refusals) {
        agent::ExecRefusals told;
        if (!agent::decode_body(reader, told)) return Error{Errc::protocol_error, "agent", "a malformed event"};
        if (!listener_->exec_refused(told)) return violation("refusals that make no sense");
        return {};
    }
    if (type != agent::Type::exec_exited) return violation("an unknown event");
    agent::ExecState state;
    if (!agent::decode_body(reader, state)) return Error{Errc::protocol_error, "agent", "a malformed event"};
    if (!listener_->exec_exited(state)) return violation("the end of an exec that does not run");
    return {};
}

Result<void> AgentClient::violation(const char* what) {
    if (++violations_ <= kMaxViolations) return {};
    return Error{Errc::protocol_error, "agent", std::string{"too many messages that nobody asked for, the last: "} + what};
}

void AgentClient::fail_pending(const Error& why) {
    for (auto& [number, pending] : pending_) {
        if (pending->result) continue;
        pending->result = why;
        pending->done.notify();
    }
    changed_.notify();
}

void AgentClient::close() {
    if (std::exchange(closed_, true)) return;
    ready_ = false;
    fail_pending(gone());
}

void AgentClient::hold(bool on) {
    held_ = on;
    if (!on && sync_) sync_->deadline = Deadline::after(kSyncTime);
    changed_.notify();
}

}  // namespace sandboxd::engine
