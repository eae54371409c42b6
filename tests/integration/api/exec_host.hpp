#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "sandboxd/core/sys.hpp"
#include "sandboxd/engine/engine.hpp"
#include "sandboxd/manager/manager.hpp"
#include "sandboxd/programs.hpp"
#include "tests/unit/api/exec_fake_exchange.hpp"

namespace sandboxd::api::testing {

// A machine with an engine, a manager and jails, and exchanges as clients would have them, without HTTP between.
class Host {
public:
    asio::io_context context;

    Host() {
        char name[] = "/tmp/sbx-api-it-XXXXXX";
        REQUIRE(::mkdtemp(name) != nullptr);
        path_ = name;
        std::filesystem::create_directories(path_ + "/api");
        manager::ManagerConfig config;
        config.state_dir = path_;
        config.instance = "api" + std::to_string(::getpid());
        config.init_binary = *sys::open(SANDBOX_INIT, O_PATH);
        config.seccomp_profile = std::string{embedded_seccomp_profile()};
        config.seccomp_strict = std::string{embedded_seccomp_strict()};
        config.seccomp_debug = std::string{embedded_seccomp_debug()};
        config.pool_bytes = 1ULL << 30;
        auto started = run(manager::Manager::start(context.get_executor(), std::move(config)));
        REQUIRE(started);
        manager_ = *std::move(started);
        start_engine();
    }
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;
    ~Host() {
        bool stopped = false;
        asio::co_spawn(context, engine->stop(), [&](std::exception_ptr) { stopped = true; });
        run_until([&] { return stopped; });
        engine.reset();
        CHECK(run(manager_->destroy_all(soon())));
        CHECK(run(manager_->stop(soon())));
        manager_.reset();
        std::filesystem::remove_all(path_);
    }

    // Lets the machine work until something is so; a test that waits for ever fails.
    template <class Condition>
    void run_until(Condition condition) {
        const auto patience = Deadline::Clock::now() + std::chrono::seconds{60};
        context.restart();
        while (!condition()) {
            if (Deadline::Clock::now() > patience) throw std::runtime_error{"waited too long"};
            if (context.run_one_for(std::chrono::seconds{1}) == 0) context.restart();
        }
    }
    template <class T>
    T run(asio::awaitable<T> task) {
        std::optional<T> out;
        asio::co_spawn(context, std::move(task), [&](std::exception_ptr e, T value) {
            if (e) std::rethrow_exception(e);
            out.emplace(std::move(value));
        });
        run_until([&] { return out.has_value(); });
        return *std::move(out);
    }
    void finish(FakeExchange& exchange) {
        run_until([&] { return exchange.done(); });
    }
    void finish_tasks(FakeExchange& exchange) {
        run_until([&] { return exchange.tasks() == 0; });
    }
    // One request and its whole answer, and what goes on behind the answer.
    std::unique_ptr<FakeExchange> ask(const std::string& request, std::string body = {}, const std::string& accept = {}) {
        auto exchange = std::make_unique<FakeExchange>(context, *engine);
        if (!accept.empty()) exchange->headers["Accept"] = accept;
        const bool upload = request.starts_with("PUT ");
        exchange->start(request, std::move(body));
        if (upload) exchange->push_piece(std::string{});
        finish(*exchange);
        finish_tasks(*exchange);
        return exchange;
    }
    // "/v1/sandboxes/ID" of a new one.
    std::string box(std::uint64_t memory_mb = 512) {
        engine::CreateRequest request;
        request.limits.disk_bytes = 64 << 20;
        request.limits.memory_bytes = memory_mb << 20;
        auto made = run(engine->create(TenantId::trusted("dev"), std::move(request), soon()));
        REQUIRE(made);
        return "/v1/sandboxes/" + (*made)->record().id.str();
    }
    nlohmann::json shell(const std::string& box, const std::string& line) {
        const nlohmann::json body = {{"shell", line}};
        const auto exchange = ask("POST " + box + "/exec", body.dump());
        REQUIRE(exchange->ok());
        return exchange->json();
    }
    bool gone(const std::string& id) { return !engine->find(TenantId::trusted("dev"), SandboxId::trusted(id)).has_value(); }

    static Deadline soon() { return Deadline::after(std::chrono::seconds{30}); }

    std::unique_ptr<engine::Engine> engine;

private:
    void start_engine() {
        engine::EngineConfig config;
        config.state_dir = path_ + "/api";
        auto made = run(engine::Engine::start(context.get_executor(), config, *manager_));
        REQUIRE(made);
        engine = *std::move(made);
        ledger::TenantRecord record;
        record.id = TenantId::trusted("dev");
        REQUIRE(run(engine->put_tenant(record)));
    }

    std::string path_;
    std::unique_ptr<manager::Manager> manager_;
};

}  // namespace sandboxd::api::testing
