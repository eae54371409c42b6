#pragma once

#include <functional>
#include <memory>
#include <string>

#include "sandboxd/core/result.hpp"

namespace boost::asio {
class io_context;
}

namespace sandboxd::ctl {

// Reads a descriptor piece by piece without changing its flags, which other processes share: the
// shell that called us has the same terminal. Destroying it drops what waits.
class InputPump {
public:
    // `fd` stays the caller's.
    InputPump(boost::asio::io_context& context, int fd);
    InputPump(const InputPump&) = delete;
    InputPump& operator=(const InputPump&) = delete;
    ~InputPump();

    // One piece, when there is one; empty at the end. One call at a time.
    void next(std::function<void(std::string)> done);

private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace sandboxd::ctl
