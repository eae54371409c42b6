#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sandboxd/attest/findings.hpp"
#include "sandboxd/control/node.hpp"
#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::attest {

namespace asio = boost::asio;

struct AttestorConfig {
    std::string key_file;
    std::string seccomp_sha256;         // of the filters that jails get
    std::vector<std::string> accepted;  // names of walls that may be broken: unsafe_accept_broken_walls
    std::function<asio::awaitable<Result<TestResult>>(Deadline)> test;  // run_self_test; ends by itself
    std::function<void(std::optional<Error>)> refuse_creates;           // as Manager has it
    double signatures_per_second = 50;  // on average, over all who ask
    double signatures_burst = 50;
};

// Says, signed, what the walls of this machine are worth. Tests once after start() and again when asked to, one test at
// a time; between tests it signs the last result. While a required wall is broken that the configuration does not
// accept, creates are refused. Lives in the monitor, where the key is out of reach of whoever takes over the API.
class Attestor {
public:
    [[nodiscard]] static Result<std::unique_ptr<Attestor>> make(asio::any_io_executor executor, AttestorConfig config);
    virtual ~Attestor() = default;

    // The first test, in the background; repeated with growing pauses until one can be made.
    virtual void start() = 0;
    // invalid_argument (nonce), rate_limited (too many, or `fresh` too soon), unavailable (no test could be made yet).
    [[nodiscard]] virtual asio::awaitable<Result<control::Attestation>> attest(control::AttestRequest request, Deadline deadline) = 0;
    // Completes when the test under way, if any, has ended and removed its sandbox.
    [[nodiscard]] virtual asio::awaitable<void> stop() = 0;
};

}  // namespace sandboxd::attest
