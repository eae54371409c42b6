#pragma once

#include <memory>
#include <string>
#include <utility>

#include "sandboxd/engine/engine.hpp"
#include "tests/unit/engine/fakes.hpp"

namespace sandboxd::testing {

// An engine over a fake node, and the means to stop or crash it and start another on what it left.
class EngineFixture {
public:
    asio::io_context context;
    TempDir dir;
    FakeNode node{context.get_executor(), dir.path};
    engine::EngineConfig config = default_config(dir.path);
    std::unique_ptr<engine::Engine> engine;
    TenantId tenant = TenantId::trusted("acme");

    EngineFixture() { start(); }
    ~EngineFixture() {
        if (engine) stop();
        node.tasks.cancel();
        run(context, join(node.tasks));
        engine.reset();
    }

    static engine::EngineConfig default_config(const std::string& path) {
        engine::EngineConfig out;
        out.state_dir = path;
        out.price_book.cpu_second = 1'000'000;
        out.price_book.wall_second = 1'000;
        return out;
    }
    static asio::awaitable<void> join(TaskGroup& tasks) { (void)co_await tasks.join(soon()); }

    void start() {
        auto started = run(context, engine::Engine::start(context.get_executor(), config, node));
        REQUIRE(started);
        engine = *std::move(started);
        ledger::TenantRecord record;
        record.id = tenant;
        if (!engine->tenant(tenant)) REQUIRE(run(context, engine->put_tenant(record)));
    }
    void stop() {
        run(context, engine->stop());
        engine.reset();
    }

    template <class T>
    T wait(asio::awaitable<T> task) {
        return run(context, std::move(task));
    }
    engine::SandboxPtr create(engine::CreateRequest request = {}) {
        auto made = wait(engine->create(tenant, std::move(request), soon()));
        REQUIRE(made);
        return *made;
    }
    static engine::ExecRequest request(std::vector<std::string> argv) {
        engine::ExecRequest out;
        out.argv = std::move(argv);
        return out;
    }
    engine::ExecPtr exec(const engine::SandboxPtr& sandbox, engine::ExecRequest asked) {
        auto made = wait(sandbox->exec(std::move(asked), soon()));
        REQUIRE(made);
        return *made;
    }
    FakeJail& jail(const engine::SandboxPtr& sandbox) { return node.jail(sandbox->record().id); }
    FakeProgram& program(const engine::SandboxPtr& sandbox, const engine::ExecPtr& exec) {
        return jail(sandbox).program(*exec_number(exec->id().str()));
    }
    std::string output(engine::Output& out, std::uint64_t offset = 0) {
        std::string text(65536, '\0');
        auto got = wait(out.read_now(offset, std::as_writable_bytes(std::span{text})));
        REQUIRE(got);
        text.resize(*got);
        return text;
    }
    // Runs the loop until the condition holds; it changes with what the loop does, so no state is slept for.
    void until(const std::function<bool()>& holds) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{20};
        context.restart();
        while (!holds()) {
            REQUIRE(std::chrono::steady_clock::now() < end);
            context.run_one_for(std::chrono::milliseconds{100});
        }
    }
};

}  // namespace sandboxd::testing
