#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sandboxd/engine/engine.hpp"
#include "tests/unit/api/exec_fake_exec.hpp"
#include "tests/unit/api/exec_fake_files.hpp"

namespace sandboxd::api::testing {

class FakeSandbox final : public engine::Sandbox {
public:
    FakeSandbox(asio::any_io_executor executor, ledger::SandboxRecord made)
        : facts{std::move(made)}, file_system{executor}, executor_{std::move(executor)} {}

    const ledger::SandboxRecord& record() const override { return facts; }
    engine::SandboxState state() const override { return engine::SandboxState::running; }
    std::optional<WallTime> expires() const override { return std::nullopt; }
    ledger::Usage usage() const override { return figures; }
    asio::awaitable<Result<engine::ExecPtr>> exec(engine::ExecRequest request, Deadline) override {
        if (start_error) co_return *start_error;
        auto exec = std::make_shared<FakeExec>(executor_, started.size() + 1, std::move(request));
        started.push_back(exec);
        if (on_exec) on_exec(*exec);
        co_return engine::ExecPtr{exec};
    }
    Result<engine::ExecPtr> find_exec(const ExecId& id) override {
        for (const auto& exec : started) {
            if (exec->id() == id) return engine::ExecPtr{exec};
        }
        return Error{Errc::not_found, "exec", id.str()};
    }
    std::vector<engine::ExecPtr> execs() override { return {started.begin(), started.end()}; }
    engine::Files& files() override { return file_system; }
    asio::awaitable<Result<Fd>> connect(std::uint16_t, Deadline) override { co_return Error{Errc::unavailable, "port"}; }
    asio::awaitable<Result<void>> update(engine::SandboxUpdate, Deadline) override { co_return Result<void>{}; }
    asio::awaitable<Result<void>> pause(Deadline) override { co_return Result<void>{}; }
    asio::awaitable<Result<void>> resume(Deadline) override { co_return Result<void>{}; }
    void touch() override {}

    ledger::SandboxRecord facts;
    ledger::Usage figures;
    FakeFiles file_system;
    std::vector<std::shared_ptr<FakeExec>> started;
    std::function<void(FakeExec&)> on_exec;  // what the programs do
    std::optional<Error> start_error;

private:
    asio::any_io_executor executor_;
};

// Knows one tenant; everything that execs and files never ask for is refused.
class FakeExecEngine : public engine::Engine {
public:
    explicit FakeExecEngine(asio::any_io_executor executor) : executor_{std::move(executor)} {}

    std::shared_ptr<FakeSandbox> add(const std::string& id) {
        ledger::SandboxRecord record;
        record.id = SandboxId::trusted(id);
        record.tenant = TenantId::trusted("dev");
        living.push_back(std::make_shared<FakeSandbox>(executor_, std::move(record)));
        if (on_create) on_create(*living.back());
        return living.back();
    }

    asio::awaitable<Result<engine::SandboxPtr>> create(TenantId, engine::CreateRequest request, Deadline) override {
        if (create_error) co_return *create_error;
        created.push_back(std::move(request));
        auto made = add("run0000" + std::to_string(created.size()));
        made->facts.limits = created.back().limits;
        co_return engine::SandboxPtr{made};
    }
    Result<engine::SandboxPtr> find(const TenantId&, const SandboxId& id) override {
        for (const auto& one : living) {
            if (one->record().id == id) return engine::SandboxPtr{one};
        }
        return Error{Errc::not_found, "sandbox", id.str()};
    }
    std::vector<engine::SandboxPtr> list(const TenantId&, const engine::SandboxFilter&) override { return {}; }
    asio::awaitable<Result<void>> destroy(engine::SandboxPtr sandbox, std::string, Deadline) override {
        // Takes its time, in which it can be cancelled, as a real one.
        auto waited = co_await sleep_until(Deadline::after(std::chrono::milliseconds{1}));
        if (!waited) co_return std::move(waited);
        std::erase_if(living, [&](const auto& one) { return one->record().id == sandbox->record().id; });
        destroyed.push_back(sandbox->record().id.str());
        co_return Result<void>{};
    }
    asio::awaitable<Result<ledger::UsagePage>> usage(ledger::UsageQuery) override { co_return refused(); }
    std::optional<ledger::TenantRecord> tenant(const TenantId& id) const override {
        ledger::TenantRecord record;
        record.id = id;
        record.limits = limits;
        return record;
    }
    std::vector<ledger::TenantRecord> tenants() const override { return {}; }
    asio::awaitable<Result<void>> put_tenant(ledger::TenantRecord) override { co_return refused(); }
    std::vector<ledger::KeyRecord> keys() const override { return {}; }
    std::optional<ledger::KeyRecord> authenticate(std::string_view key) const override {
        if (key != "sbx_test") return std::nullopt;
        ledger::KeyRecord record;
        record.id = KeyId::trusted("k1");
        record.tenant = TenantId::trusted("dev");
        return record;
    }
    asio::awaitable<Result<NewKey>> create_key(TenantId, std::string, bool) override { co_return refused(); }
    asio::awaitable<Result<void>> revoke_key(KeyId) override { co_return refused(); }
    asio::awaitable<Result<void>> ensure_key(TenantId, std::string, std::string, bool) override { co_return refused(); }
    asio::awaitable<Result<std::optional<ledger::IdempotencyRecord>>> claim_idempotency(ledger::IdempotencyRecord) override {
        co_return std::optional<ledger::IdempotencyRecord>{};
    }
    asio::awaitable<Result<void>> finish_idempotency(ledger::IdempotencyRecord) override { co_return Result<void>{}; }
    asio::awaitable<Result<void>> drop_idempotency(TenantId, std::string) override { co_return Result<void>{}; }
    void cordon(bool) override {}
    bool cordoned() const override { return false; }
    asio::awaitable<void> drain(Deadline) override { co_return; }
    asio::awaitable<Result<control::Attestation>> attest(control::AttestRequest, Deadline) override { co_return refused(); }
    asio::awaitable<Result<control::NodeStatus>> node_status() override { co_return control::NodeStatus{}; }
    engine::EngineStats stats() override { return {}; }
    asio::awaitable<void> stop() override { co_return; }

    policies::TenantLimits limits;
    std::vector<std::shared_ptr<FakeSandbox>> living;
    std::vector<engine::CreateRequest> created;
    std::vector<std::string> destroyed;
    std::function<void(FakeSandbox&)> on_create;
    std::optional<Error> create_error;

private:
    static Error refused() { return Error{Errc::incompatible, "fake engine"}; }
    asio::any_io_executor executor_;
};

}  // namespace sandboxd::api::testing
