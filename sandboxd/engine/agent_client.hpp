#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sandboxd/agent/protocol.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/engine/agent_reply.hpp"

namespace sandboxd::engine {

// What the init still holds of an exec, told after each hello of a connection that was not the first.
struct HeldExec {
    agent::ExecState state;
    std::vector<Fd> fds;
};

// Told what comes from the jail. Never from inside a call to AgentClient.
class AgentListener {
public:
    virtual ~AgentListener() = default;
    // False: nothing that could have been expected (an exec that is not known, or that has ended already).
    [[nodiscard]] virtual bool exec_exited(const agent::ExecState& state) = 0;
    // Before exec_exited, and before synced() for what is held. False: it makes no sense, or there is too much of it.
    [[nodiscard]] virtual bool exec_refused(const agent::ExecRefusals& told) = 0;
    virtual void synced(std::vector<HeldExec> held) = 0;  // the whole truth: what is not in it is lost
    virtual void agent_gone() = 0;                        // the node has no such sandbox any more
};

// The connection to one sandbox's init: requests and their replies, events, and coming back after a hang-up. Every
// byte from the other end is hostile: sizes and counts are bounded, what nobody asked for is counted and ends the
// connection, a connection that breaks again and again comes back with growing pauses. One thread.
class AgentClient : public std::enable_shared_from_this<AgentClient> {
public:
    // Asks the node for a new connection; not_found: there is no such sandbox.
    using Dial = std::function<asio::awaitable<Result<Fd>>(Deadline)>;

    AgentClient(asio::any_io_executor executor, Dial dial, AgentListener& listener);

    // Serves the connection, and the next ones, until close() or cancellation. `first` may be empty: dials at once.
    // `fresh`: nothing has been asked of this init before, so requests need not wait for its greeting.
    enum class Start { fresh, resume };
    [[nodiscard]] asio::awaitable<void> run(Fd first, Start start);

    // Every waiting and later request answers `gone`. The listener hears nothing more.
    void close();
    // A frozen init answers nothing: no connection is made or given up meanwhile.
    void hold(bool on);
    [[nodiscard]] bool ready() const noexcept { return ready_; }
    [[nodiscard]] asio::awaitable<Result<void>> until_ready(Deadline deadline);

    // Encodes at once, so that the body's string_views need only live during the call. unavailable while the
    // connection can't be had before the deadline; timeout; payload_too_large.
    template <class Body>
    [[nodiscard]] asio::awaitable<Result<AgentReply>> request(agent::Type type, const Body& body, Fd attachment, Deadline deadline) {
        Message message = encode([&](std::byte* buffer, std::size_t capacity, std::uint32_t number) {
            return agent::encode(buffer, capacity, type, number, body);
        });
        return call(std::move(message), std::move(attachment), deadline);
    }
    // For requests whose answer is `ok`.
    template <class Body>
    [[nodiscard]] asio::awaitable<Result<void>> command(agent::Type type, const Body& body, std::string_view operation, Deadline deadline) {
        auto reply = request(type, body, Fd{}, deadline);
        return confirm(std::move(reply), std::string{operation});
    }

private:
    struct Message {
        std::uint32_t number = 0;
        std::string bytes;  // empty: it did not fit
    };
    struct Pending {
        explicit Pending(asio::any_io_executor executor) : done{std::move(executor)} {}
        Event done;
        std::optional<Result<AgentReply>> result;
    };
    struct Sync {
        std::uint32_t request = 0;
        std::optional<std::uint32_t> announced;
        std::vector<HeldExec> held;
        Deadline deadline = Deadline::never();
    };

    [[nodiscard]] Message encode(const std::function<std::size_t(std::byte*, std::size_t, std::uint32_t)>& write);
    [[nodiscard]] asio::awaitable<Result<AgentReply>> call(Message message, Fd attachment, Deadline deadline);
    [[nodiscard]] static asio::awaitable<Result<void>> confirm(asio::awaitable<Result<AgentReply>> reply, std::string operation);
    [[nodiscard]] asio::awaitable<Result<void>> send(const Message& message, const Fd& attachment, Deadline deadline);

    [[nodiscard]] asio::awaitable<Error> serve(Fd socket, Start start);
    [[nodiscard]] Result<void> greet(Start start);
    [[nodiscard]] Result<void> receive_some();
    [[nodiscard]] Result<void> take(std::span<const std::byte> bytes, std::vector<Fd> fds);
    [[nodiscard]] Result<void> take_sync(agent::Type type, wire::Reader& reader, std::vector<Fd> fds);
    [[nodiscard]] Result<void> take_exec_state(wire::Reader& reader, std::vector<Fd> fds);
    [[nodiscard]] Result<void> take_event(agent::Type type, wire::Reader& reader);
    [[nodiscard]] Result<void> violation(const char* what);
    void fail_pending(const Error& why);

    asio::any_io_executor executor_;
    Dial dial_;
    AgentListener* listener_;
    Fd socket_;
    std::uint32_t next_number_ = 1;
    std::uint32_t generation_ = 0;
    std::map<std::uint32_t, Pending*> pending_;
    std::optional<Sync> sync_;
    std::uint32_t violations_ = 0;
    bool ready_ = false;
    bool closed_ = false;
    bool held_ = false;
    bool sending_ = false;
    Event changed_;
};

}  // namespace sandboxd::engine
