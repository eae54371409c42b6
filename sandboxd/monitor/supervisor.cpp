#include "sandboxd/monitor/supervisor.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <csignal>

#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"

namespace sandboxd::monitor {

namespace {

constexpr std::chrono::milliseconds kFirstPause{10};
constexpr std::chrono::milliseconds kLongestPause{5000};
constexpr std::chrono::seconds kHealthyAfter{10};
constexpr std::chrono::seconds kTermTimeout{5};
// Replies carry descriptors and must not be lost because the API is slow for a moment.
constexpr int kControlBuffer = 4 << 20;

}  // namespace

Supervisor::Supervisor(asio::any_io_executor executor, manager::Manager& manager, ApiLaunch launch)
    : executor_{executor}, manager_{manager}, launch_{std::move(launch)}, changed_{executor}, tasks_{executor} {
    manager_.on_gone = [this](const SandboxId& id, control::GoneReason reason) {
        if (server_) server_->send_gone(id, reason);
    };
    manager_.on_drained = [this] {
        drained_ = true;
        changed_.notify();
    };
}

Supervisor::~Supervisor() {
    manager_.on_gone = nullptr;
    manager_.on_drained = nullptr;
}

void Supervisor::start() { tasks_.spawn("api", keep_running()); }

Result<Fd> Supervisor::start_process() {
    SBX_TRY(sys::SocketPair pair, sys::seqpacket_pair());
    (void)::setsockopt(pair.first.get(), SOL_SOCKET, SO_SNDBUFFORCE, &kControlBuffer, sizeof kControlBuffer);
    launch_.control = pair.second.get();
    SBX_TRY(process_, ApiProcess::start(launch_));
    log::info("sandboxd-api started", {{"pid", process_->pid()}});
    return std::move(pair.first);
}

asio::awaitable<void> Supervisor::serve() {
    co_await server_->run();
    changed_.notify();
}

asio::awaitable<void> Supervisor::keep_running() {
    auto pause = kFirstPause;
    while (!stopping_) {
        const auto started = Deadline::Clock::now();
        auto socket = start_process();
        if (!socket) {
            log::error("sandboxd-api can't be started", {{"error", socket.error()}});
        } else {
            server_ = control::Server::make(executor_, manager_, *std::move(socket));
            TaskGroup serving{executor_};
            serving.spawn("control", serve());
            auto ended = co_await process_->wait(Deadline::never());
            (void)co_await serving.join(Deadline::never());
            server_.reset();
            process_.reset();
            if (!ended) break;
            if (!stopping_) log::error("sandboxd-api died", {{"signaled", ended->signaled}, {"status", ended->status}});
        }
        changed_.notify();
        if (stopping_) break;
        if (Deadline::Clock::now() - started > kHealthyAfter) pause = kFirstPause;
        const Deadline again = Deadline::after(pause);
        (void)co_await changed_.wait(again);
        pause = std::min(pause * 4, kLongestPause);
    }
}

asio::awaitable<void> Supervisor::stop(std::chrono::seconds drain_timeout) {
    const Deadline drain = Deadline::after(drain_timeout);
    if (server_) server_->send_drain(drain);
    while (server_ && !drained_) {
        auto woken = co_await changed_.wait(drain);
        if (!woken) break;
    }
    stopping_ = true;
    changed_.notify();
    if (process_) (void)process_->signal(SIGTERM);  // it may be gone already
    auto ended = co_await tasks_.join(Deadline::after(kTermTimeout));
    if (!ended && process_) {
        log::warn("sandboxd-api did not end; killing it", {{"pid", process_->pid()}});
        (void)process_->signal(SIGKILL);
        (void)co_await tasks_.join(Deadline::never());
    }
}

}  // namespace sandboxd::monitor
