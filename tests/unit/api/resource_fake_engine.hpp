#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sandboxd/engine/engine.hpp"
#include "tests/unit/api/exec_fake_exec.hpp"
#include "tests/unit/api/exec_fake_files.hpp"

// An engine that keeps what the resources ask for in memory. It decides nothing: refusals are given to it by the test.
namespace sandboxd::api::testing {

class FakeBox final : public engine::Sandbox {
public:
    FakeBox(asio::any_io_executor executor, ledger::SandboxRecord made) : facts{std::move(made)}, file_system{executor}, executor_{std::move(executor)} {}

    const ledger::SandboxRecord& record() const override { return facts; }
    engine::SandboxState state() const override { return now; }
    std::optional<WallTime> expires() const override { return due; }
    ledger::Usage usage() const override { return figures; }
    asio::awaitable<Result<engine::ExecPtr>> exec(engine::ExecRequest request, Deadline) override {
        auto made = std::make_shared<FakeExec>(executor_, programs.size() + 1, std::move(request));
        programs.push_back(made);
        co_return engine::ExecPtr{made};
    }
    Result<engine::ExecPtr> find_exec(const ExecId& id) override { return Error{Errc::not_found, "exec", id.str()}; }
    std::vector<engine::ExecPtr> execs() override { return {programs.begin(), programs.end()}; }
    engine::Files& files() override { return file_system; }
    asio::awaitable<Result<Fd>> connect(std::uint16_t, Deadline) override { co_return Error{Errc::unavailable, "port"}; }
    asio::awaitable<Result<void>> update(engine::SandboxUpdate update, Deadline) override {
        if (refusal) co_return *refusal;
        if (update.timeout_s) facts.timeout_s = *update.timeout_s;
        if (update.on_timeout) facts.on_timeout = *update.on_timeout;
        if (update.metadata) facts.metadata = *update.metadata;
        if (update.limits) facts.limits = *update.limits;
        updates.push_back(std::move(update));
        co_return Result<void>{};
    }
    asio::awaitable<Result<void>> pause(Deadline) override { co_return become(engine::SandboxState::paused); }
    asio::awaitable<Result<void>> resume(Deadline) override { co_return become(engine::SandboxState::running); }
    void touch() override {}

    ledger::SandboxRecord facts;
    engine::SandboxState now = engine::SandboxState::running;
    std::optional<WallTime> due;
    ledger::Usage figures;
    FakeFiles file_system;
    std::vector<std::shared_ptr<FakeExec>> programs;
    std::vector<engine::SandboxUpdate> updates;
    std::optional<Error> refusal;

private:
    Result<void> become(engine::SandboxState state) {
        if (refusal) return *refusal;
        now = state;
        return {};
    }
    asio::any_io_executor executor_;
};

class FakeNode final : public engine::Engine {
public:
    explicit FakeNode(asio::any_io_executor executor) : quiet{executor}, executor_{std::move(executor)} {
        add_tenant("dev");
        add_tenant("other");
        status.templates = {"host", "python"};
    }

    void add_tenant(const std::string& name) {
        ledger::TenantRecord record;
        record.id = TenantId::trusted(name);
        record.created = WallTime{std::chrono::seconds{1'700'000'000}};
        known[record.id] = record;
    }
    std::shared_ptr<FakeBox> add(const std::string& id, std::int64_t created_ns = 0, const std::string& tenant = "dev") {
        ledger::SandboxRecord record;
        record.id = SandboxId::trusted(id);
        record.tenant = TenantId::trusted(tenant);
        record.template_name = "host";
        record.created = WallTime{std::chrono::nanoseconds{created_ns}};
        living.push_back(std::make_shared<FakeBox>(executor_, std::move(record)));
        return living.back();
    }

    asio::awaitable<Result<engine::SandboxPtr>> create(TenantId tenant, engine::CreateRequest request, Deadline) override {
        if (refusal) co_return *refusal;
        auto made = add(request.id ? request.id->str() : "made" + std::to_string(1000 + living.size()), 1, tenant.str());
        made->facts.template_name = request.template_name;
        made->facts.limits = request.limits;
        made->facts.env = request.env;
        made->facts.metadata = request.metadata;
        made->facts.timeout_s = request.timeout_s;
        made->facts.on_timeout = request.on_timeout;
        made->facts.provisional = request.provisional;
        asked.push_back(std::move(request));
        co_return engine::SandboxPtr{made};
    }
    Result<engine::SandboxPtr> find(const TenantId& tenant, const SandboxId& id) override {
        for (const auto& one : living) {
            if (one->facts.id == id && one->facts.tenant == tenant) return engine::SandboxPtr{one};
        }
        if (const auto found = ended.find(id.str()); found != ended.end() && found->second == tenant) return Error{Errc::gone, "sandbox", "ended"};
        return Error{Errc::not_found, "sandbox", id.str()};
    }
    std::vector<engine::SandboxPtr> list(const TenantId& tenant, const engine::SandboxFilter& filter) override {
        std::vector<engine::SandboxPtr> out;
        for (const auto& one : living) {
            const bool pairs = std::all_of(filter.metadata.begin(), filter.metadata.end(), [&](const auto& pair) {
                const auto found = one->facts.metadata.find(pair.first);
                return found != one->facts.metadata.end() && found->second == pair.second;
            });
            if (one->facts.tenant == tenant && pairs && (!filter.state || one->now == *filter.state)) out.push_back(one);
        }
        std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
            return std::pair{a->record().created, a->record().id} > std::pair{b->record().created, b->record().id};
        });
        return out;
    }
    asio::awaitable<Result<void>> destroy(engine::SandboxPtr sandbox, std::string reason, Deadline) override {
        ended[sandbox->record().id.str()] = sandbox->record().tenant;
        reasons.push_back(std::move(reason));
        std::erase_if(living, [&](const auto& one) { return one == sandbox; });
        co_return Result<void>{};
    }
    asio::awaitable<Result<ledger::UsagePage>> usage(ledger::UsageQuery query) override {
        questions.push_back(std::move(query));
        if (refusal) co_return *refusal;
        co_return page;
    }

    std::optional<ledger::TenantRecord> tenant(const TenantId& id) const override {
        const auto found = known.find(id);
        if (found == known.end()) return std::nullopt;
        return found->second;
    }
    std::vector<ledger::TenantRecord> tenants() const override {
        std::vector<ledger::TenantRecord> out;
        // Not in the order of their names: the engine promises none.
        for (auto one = known.rbegin(); one != known.rend(); ++one) out.push_back(one->second);
        return out;
    }
    asio::awaitable<Result<void>> put_tenant(ledger::TenantRecord tenant) override {
        known.insert_or_assign(tenant.id, tenant);
        co_return Result<void>{};
    }
    std::vector<ledger::KeyRecord> keys() const override { return key_records; }
    std::optional<ledger::KeyRecord> authenticate(std::string_view) const override { return std::nullopt; }
    asio::awaitable<Result<NewKey>> create_key(TenantId tenant, std::string label, bool admin) override {
        if (!known.contains(tenant)) co_return Error{Errc::not_found, "tenant", tenant.str() + " does not exist"};
        NewKey key;
        key.secret = "sbx_" + std::string(43, 'x');
        key.record.id = KeyId::trusted(generate_id(IdKind::key, {}));
        key.record.tenant = std::move(tenant);
        key.record.label = std::move(label);
        key.record.admin = admin;
        key_records.push_back(key.record);
        co_return key;
    }
    asio::awaitable<Result<void>> revoke_key(KeyId id) override {
        for (auto& record : key_records) {
            if (record.id != id) continue;
            record.revoked = WallTime{std::chrono::seconds{1'700'000'001}};
            co_return Result<void>{};
        }
        co_return Error{Errc::not_found, "key", id.str()};
    }
    asio::awaitable<Result<void>> ensure_key(TenantId, std::string, std::string, bool) override { co_return Result<void>{}; }
    asio::awaitable<Result<std::optional<ledger::IdempotencyRecord>>> claim_idempotency(ledger::IdempotencyRecord) override {
        co_return std::optional<ledger::IdempotencyRecord>{};
    }
    asio::awaitable<Result<void>> finish_idempotency(ledger::IdempotencyRecord) override { co_return Result<void>{}; }
    asio::awaitable<Result<void>> drop_idempotency(TenantId, std::string) override { co_return Result<void>{}; }
    void cordon(bool on) override { is_cordoned = on; }
    bool cordoned() const override { return is_cordoned; }
    asio::awaitable<void> drain(Deadline deadline) override {
        is_cordoned = true;
        while (busy) {
            auto woken = co_await quiet.wait(deadline);
            if (!woken) co_return;
        }
    }
    asio::awaitable<Result<control::Attestation>> attest(control::AttestRequest request, Deadline) override {
        attest_requests.push_back(std::move(request));
        co_return attestation;
    }
    asio::awaitable<Result<control::NodeStatus>> node_status() override {
        if (node_failure) co_return *node_failure;
        co_return status;
    }
    engine::EngineStats stats() override { return std::exchange(figures, {}); }
    asio::awaitable<void> stop() override { co_return; }

    std::map<TenantId, ledger::TenantRecord> known;
    std::vector<std::shared_ptr<FakeBox>> living;
    std::map<std::string, TenantId> ended;
    std::vector<engine::CreateRequest> asked;
    std::vector<control::AttestRequest> attest_requests;
    control::Attestation attestation;
    std::vector<std::string> reasons;
    std::vector<ledger::UsageQuery> questions;
    std::vector<ledger::KeyRecord> key_records;
    ledger::UsagePage page;
    control::NodeStatus status;
    engine::EngineStats figures;
    std::optional<Error> refusal;
    std::optional<Error> node_failure;
    bool is_cordoned = false;
    bool busy = false;
    Event quiet;

private:
    asio::any_io_executor executor_;
};

}  // namespace sandboxd::api::testing
