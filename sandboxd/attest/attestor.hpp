#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <string>
#include <vector>

#include "sandboxd/attest/self_test.hpp"
#include "sandboxd/control/node.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/manager/manager.hpp"

namespace sandboxd::attest {

struct AttestorConfig {
    std::string key_file;
    SelfTestPlan plan;
    std::vector<std::string> accepted;  // names of walls that may be broken: unsafe_accept_broken_walls
};

// Says, signed, what the walls of this machine are worth. Tests once after start() and again when asked to, one test at
// a time; between tests it signs the last result. While a required wall is broken that the configuration does not
// accept, the manager refuses creates. Lives in the monitor, where the key is out of reach of whoever takes over the API.
class Attestor {
public:
    [[nodiscard]] static Result<std::unique_ptr<Attestor>> make(asio::any_io_executor executor, manager::Manager& manager, AttestorConfig config);
    virtual ~Attestor() = default;

    // The first test, in the background; repeated with growing pauses until one can be made.
    virtual void start() = 0;
    // invalid_argument (nonce), rate_limited (too many, or `fresh` too soon), unavailable (no test could be made yet).
    [[nodiscard]] virtual asio::awaitable<Result<control::Attestation>> attest(control::AttestRequest request, Deadline deadline) = 0;
    // Completes when the test under way, if any, has ended and removed its sandbox.
    [[nodiscard]] virtual asio::awaitable<void> stop() = 0;
};

}  // namespace sandboxd::attest
