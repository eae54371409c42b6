// The monitor against the real kernel: what a start that fails leaves behind.
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <filesystem>
#include <optional>

#include "sandboxd/core/sys.hpp"
#include "sandboxd/monitor/monitor.hpp"
#include "sandboxd/monitor/state_directory.hpp"

using namespace sandboxd;

namespace {

struct StateDir {
    std::string path;
    StateDir() {
        char name[] = "/var/tmp/sandboxd-test-monitor-XXXXXX";
        path = ::mkdtemp(name);
    }
    ~StateDir() { std::filesystem::remove_all(path); }
};

Result<void> start(Config config) {
    asio::io_context context{1};
    monitor::StopRequest stop{context.get_executor()};
    std::optional<Result<void>> outcome;
    asio::co_spawn(context, monitor::run(context.get_executor(), std::move(config), stop),
                   [&](std::exception_ptr failure, Result<void> result) {
                       if (failure) std::rethrow_exception(failure);
                       outcome = std::move(result);
                   });
    context.run();
    REQUIRE(outcome.has_value());
    return *std::move(outcome);
}

std::size_t cgroup_folders(const std::string& name) {
    std::size_t count = 0;
    std::error_code ignored;
    for (std::filesystem::recursive_directory_iterator at{"/sys/fs/cgroup", ignored}, end; at != end; at.increment(ignored)) {
        count += at->path().filename() == name ? 1 : 0;
    }
    return count;
}

void require_nothing_left(const StateDir& state) {
    CHECK(sys::read_file("/proc/self/mountinfo")->find(state.path) == std::string::npos);
    CHECK(cgroup_folders("sandboxd-" + monitor::instance_name(state.path)) == 0);
    for (const auto& device : std::filesystem::directory_iterator{"/sys/block"}) {
        auto backing = sys::read_file(device.path().string() + "/loop/backing_file");
        if (backing) CHECK(backing->find(state.path) == std::string::npos);
    }
}

Config config_for(const StateDir& state) {
    Config config;
    config.state_dir = state.path;
    config.listen = "127.0.0.1:0";
    config.pool_bytes = 1ULL << 30;
    return config;
}

}  // namespace

TEST_CASE("a start that fails after the pool is mounted leaves nothing, and can be tried again") {
    if (::geteuid() != 0) {
        WARN("needs root");
        std::exit(77);
    }
    const StateDir state;
    Config config = config_for(state);
    config.api_user = "no-such-user-here";
    for (int attempt = 0; attempt < 2; ++attempt) {
        auto outcome = start(config);
        REQUIRE_FALSE(outcome);
        CHECK(outcome.error().message().find("no user no-such-user-here on this machine") != std::string::npos);
        require_nothing_left(state);
    }
}

TEST_CASE("a pool that can't be made leaves nothing") {
    const StateDir state;
    Config config = config_for(state);
    config.pool_device = state.path + "/nothing";
    config.pool_tmpfs = false;
    auto outcome = start(config);
    REQUIRE_FALSE(outcome);
    require_nothing_left(state);
}

TEST_CASE("a state folder that another daemon uses is refused with the cure") {
    const StateDir state;
    const auto lock = monitor::open_state_directory(state.path);
    REQUIRE(lock);
    auto outcome = start(config_for(state));
    REQUIRE_FALSE(outcome);
    CHECK(outcome.error().is(Errc::conflict));
    CHECK(outcome.error().message().find("--state-dir") != std::string::npos);
}
