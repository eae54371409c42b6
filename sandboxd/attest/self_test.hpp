#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>

#include "sandboxd/attest/findings.hpp"
#include "sandboxd/core/deadline.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/core/result.hpp"
#include "sandboxd/manager/manager.hpp"

namespace sandboxd::attest {

namespace asio = boost::asio;

struct SelfTestPlan {
    std::string program;      // path of sandbox-probe
    std::string secret_path;  // that no jail may see: the state folder
    std::uint32_t uid = 0;    // of the conductor, an id of the host that is nobody's; its group too
    NodeIdentity node;
};

// Makes a sandbox as any client's, has sandbox-probe try its walls in there, looks at it from outside, and removes the
// sandbox again, whatever happened. An Error says that the test could not be made, which is no word on the walls. Not to
// be cancelled: it ends by itself, at the latest 10 s after the deadline.
[[nodiscard]] asio::awaitable<Result<TestResult>> run_self_test(manager::Manager& manager, SelfTestPlan plan, Deadline deadline);

}  // namespace sandboxd::attest
