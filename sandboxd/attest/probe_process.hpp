#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>
#include <vector>

#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/fd.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::attest {

namespace asio = boost::asio;

// A running sandbox-probe of ours, outside of the jail. Killed and reaped when it goes.
class ProbeProcess {
public:
    // `descriptors` become 3, 4, ... of the program; nothing else is inherited. They stay the caller's.
    [[nodiscard]] static Result<ProbeProcess> start(const std::string& program, std::vector<std::string> arguments,
                                                    const std::vector<int>& descriptors);
    ProbeProcess(ProbeProcess&&) noexcept = default;
    ProbeProcess& operator=(ProbeProcess&&) = delete;
    ~ProbeProcess();

    // timeout at the deadline: it still runs.
    [[nodiscard]] asio::awaitable<Result<sys::ChildExit>> wait(Deadline deadline);

private:
    explicit ProbeProcess(Fd pidfd) : pidfd_{std::move(pidfd)} {}
    Fd pidfd_;  // invalid once reaped
};

}  // namespace sandboxd::attest
