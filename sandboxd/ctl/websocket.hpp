#pragma once

#include <functional>
#include <memory>
#include <string>

#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/ctl/target.hpp"

namespace boost::asio {
class io_context;
}

namespace sandboxd::ctl {

struct Message {
    bool binary = false;
    std::string data;
};

// A WebSocket to a daemon. Asynchronous on one context and one thread; handlers run from there,
// never inside of the call. Destroying it breaks the connection; handlers that wait are dropped
// uncalled.
class WebSocketLink {
public:
    // Runs the context until the connection stands: other handlers on it may run meanwhile. A
    // refusal is the daemon's own error (not_found, unauthorized, …), unavailable when nobody
    // answers.
    [[nodiscard]] static Result<std::unique_ptr<WebSocketLink>> open(
        boost::asio::io_context& context, const Target& target, const std::string& path,
        Deadline deadline);
    virtual ~WebSocketLink() = default;

    // One at a time. unavailable when the connection broke; conflict when the other side closed it
    // with a refusal (its reason is the message), canceled when it closed it in order.
    virtual void read(std::function<void(Result<Message>)> done) = 0;
    // One at a time; the message is the link's until `done`.
    virtual void write(Message message, std::function<void(Result<void>)> done) = 0;
    // Says goodbye. No write may wait. read() ends.
    virtual void close() = 0;
};

}  // namespace sandboxd::ctl
