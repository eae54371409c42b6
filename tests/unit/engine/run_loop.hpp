#pragma once

#include <stdlib.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "sandboxd/core/async.hpp"
#include "sandboxd/core/deadline.hpp"

namespace sandboxd::testing {

struct TempDir {
    std::string path;
    TempDir() {
        char name[] = "/tmp/sbx-engine-XXXXXX";
        REQUIRE(::mkdtemp(name) != nullptr);
        path = name;
    }
    TempDir(const TempDir&) = delete;
    ~TempDir() { std::filesystem::remove_all(path); }
};

inline Deadline soon() { return Deadline::after(std::chrono::seconds{20}); }

// Runs a coroutine to its end; what it spawned elsewhere stays where it stands until the next run.
template <class T>
T run(asio::io_context& context, asio::awaitable<T> task) {
    std::optional<T> out;
    std::exception_ptr failure;
    asio::co_spawn(context, std::move(task), [&](std::exception_ptr e, T value) {
        failure = e;
        if (!e) out.emplace(std::move(value));
        context.stop();
    });
    context.restart();
    context.run_for(std::chrono::seconds{50});
    if (failure) std::rethrow_exception(failure);
    REQUIRE(out.has_value());
    return *std::move(out);
}

inline void run(asio::io_context& context, asio::awaitable<void> task) {
    bool done = false;
    std::exception_ptr failure;
    asio::co_spawn(context, std::move(task), [&](std::exception_ptr e) {
        failure = e;
        done = true;
        context.stop();
    });
    context.restart();
    context.run_for(std::chrono::seconds{50});
    if (failure) std::rethrow_exception(failure);
    REQUIRE(done);
}

}  // namespace sandboxd::testing
