#pragma once

#include <boost/asio/io_context.hpp>
#include <string>

#include "tests/unit/api/exec_fake_exchange.hpp"

namespace sandboxd::api::testing {

// An engine with one sandbox, "box00001", on a context that a test steps.
struct Bench {
    asio::io_context io;
    FakeExecEngine engine{io.get_executor()};
    std::shared_ptr<FakeSandbox> sandbox = engine.add("box00001");

    FakeExec& exec(std::size_t index = 0) { return *sandbox->started.at(index); }
    // Waits for what only time brings.
    template <class Condition>
    void run_until(Condition condition) {
        io.restart();
        while (!condition()) {
            if (io.run_one() == 0) throw std::runtime_error{"nothing is left to wait for"};
        }
    }
};

inline const std::string kExecPath = "/v1/sandboxes/box00001/exec";

}  // namespace sandboxd::api::testing
