#include <algorithm>
#include <utility>

#include "sandboxd/core/log.hpp"
#include "sandboxd/engine/engine_impl.hpp"

namespace sandboxd::engine {

namespace {

constexpr auto kStatusAge = std::chrono::seconds{1};
constexpr std::size_t kCreateTimes = 10'000;
constexpr std::size_t kMaxEnvironment = 128 * 1024;

Error bad(const char* field, std::string why) {
    return Error{Errc::invalid_argument, "create", std::move(why)}.fact("field", std::string{field});
}

bool same_request(const ledger::SandboxRecord& record, const CreateRequest& request) {
    return record.template_name == request.template_name && record.limits == request.limits && record.network == request.network &&
           record.allow_root == request.allow_root && record.profile == request.profile && record.env == request.env && record.metadata == request.metadata &&
           record.timeout_s == request.timeout_s && record.on_timeout == request.on_timeout;
}

Error taken(const SandboxId& id) {
    return Error{Errc::conflict, "create", "the id " + id.str() + " is in use with other values, or was used before"}.fact("field", std::string{"id"});
}

ledger::SandboxRecord record_of(const TenantId& tenant, SandboxId id, CreateRequest request) {
    ledger::SandboxRecord record;
    record.id = std::move(id);
    record.tenant = tenant;
    record.template_name = std::move(request.template_name);
    record.limits = request.limits;
    record.network = std::move(request.network);
    record.allow_root = request.allow_root;
    record.profile = request.profile;
    record.env = std::move(request.env);
    record.metadata = std::move(request.metadata);
    record.timeout_s = request.timeout_s;
    record.on_timeout = request.on_timeout;
    record.created = system_clock().wall();
    record.last_used = record.created;
    record.provisional = request.provisional;
    return record;
}

}  // namespace

// One create on its way. Shared with the caller, who may go away, and with others who ask for the same id.
struct EngineImpl::Creation {
    explicit Creation(asio::any_io_executor executor) : done{std::move(executor)} {}
    ledger::SandboxRecord record;
    CreateRequest request;
    Admission::Lease lease;
    Deadline deadline = Deadline::never();
    bool chosen_id = false;
    bool abandoned = false;
    std::optional<Result<SandboxPtr>> result;
    Event done;

    [[nodiscard]] asio::awaitable<Result<SandboxPtr>> wait(Deadline until) {
        while (!result) SBX_CO_CHECK(co_await done.wait(until));
        co_return *result;
    }
};

Result<void> EngineImpl::check_request(const CreateRequest& request, const policies::TenantLimits& ceiling) const {
    if (request.timeout_s == 0 || request.timeout_s > ceiling.max_timeout_s) {
        return Error{Errc::limit_exceeded, "create", "timeout_s is out of range"}
            .fact("limit", std::string{"timeout_s"})
            .fact("asked", static_cast<std::int64_t>(request.timeout_s))
            .fact("allowed", static_cast<std::int64_t>(ceiling.max_timeout_s));
    }
    SBX_CHECK(policies::check_profile(request.profile, ceiling.profile));
    if (request.network != "none") {
        return Error{Errc::incompatible, "create", "this node has no network for sandboxes"}.fact("field", std::string{"network"}).fact("allowed", std::string{"none"});
    }
    std::size_t size = 0;
    for (const auto& [name, value] : request.env) {
        if (name.empty() || name.find_first_of(std::string_view{"=\0", 2}) != std::string::npos || value.find('\0') != std::string::npos) {
            return bad("env", "a variable's name is empty or has '=' in it, or there is a NUL");
        }
        size += name.size() + value.size() + 2;
    }
    if (size > kMaxEnvironment) return bad("env", "larger than 128 KiB");
    return {};
}

// The answer for an id that is known already; nothing when it is free.
asio::awaitable<std::optional<Result<SandboxPtr>>> EngineImpl::existing(TenantId tenant, CreateRequest request, Deadline deadline) {
    const SandboxId id = *request.id;
    if (const auto underway = creations_.find(id); underway != creations_.end()) {
        const std::shared_ptr<Creation> creation = underway->second;
        if (creation->record.tenant != tenant || !same_request(creation->record, request)) co_return Result<SandboxPtr>{taken(id)};
        creation->abandoned = false;
        co_return co_await creation->wait(deadline);
    }
    if (const auto found = sandboxes_.find(id); found != sandboxes_.end()) {
        const Entry& sandbox = found->second;
        const bool alive = sandbox->state() == SandboxState::running || sandbox->state() == SandboxState::paused;
        if (alive && sandbox->record().tenant == tenant && same_request(sandbox->record(), request)) co_return Result<SandboxPtr>{SandboxPtr{sandbox}};
        co_return Result<SandboxPtr>{taken(id)};
    }
    if (ended_.contains(id)) co_return Result<SandboxPtr>{taken(id)};
    co_return std::nullopt;
}

asio::awaitable<Result<SandboxPtr>> EngineImpl::create(TenantId tenant, CreateRequest request, Deadline deadline) {
    const auto known = tenants_.find(tenant);
    if (known == tenants_.end()) co_return Error{Errc::not_found, "tenant", tenant.str() + " does not exist"};
    const policies::TenantLimits ceiling = known->second.limits;
    if (request.id) {
        auto answer = co_await existing(tenant, request, deadline);
        if (answer) co_return *std::move(answer);
    }
    SBX_CO_CHECK(check_request(request, ceiling));
    request.allow_root = request.allow_root && ceiling.allow_root;
    // All leases before anything is made, and without a wait since the id was found free.
    SBX_CO_CHECK(escrow_.open(tenant));
    SBX_CO_TRY(Admission::Lease lease, admission_.admit(tenant, ceiling, request.limits, system_clock().steady()));
    refresh_node_status();

    const auto creation = std::make_shared<Creation>(executor_);
    creation->chosen_id = request.id.has_value();
    const SandboxId id = request.id ? *request.id : SandboxId::trusted(generate_id(IdKind::sandbox, config_.node));
    creation->record = record_of(tenant, id, std::move(request));
    creation->lease = std::move(lease);
    creation->deadline = deadline;
    creations_.emplace(id, creation);
    spawn("create", make(creation));
    struct Abandon {
        Creation& creation;
        explicit Abandon(Creation& c) : creation{c} {}
        ~Abandon() { creation.abandoned = !creation.result; }
    } abandon{*creation};
    co_return co_await creation->wait(deadline);
}

asio::awaitable<void> EngineImpl::make(std::shared_ptr<Creation> creation) {
    struct Listed {
        EngineImpl& engine;
        std::shared_ptr<Creation> creation;
        Listed(EngineImpl& e, std::shared_ptr<Creation> c) : engine{e}, creation{std::move(c)} {}
        ~Listed() {
            engine.creations_.erase(creation->record.id);
            if (!creation->result) creation->result = Error{Errc::unavailable, "create", "the daemon stops"};
            creation->done.notify();
        }
    } listed{*this, creation};
    const auto begun = system_clock().steady();
    auto made = co_await make_on_node(creation);
    if (!made) {
        ++stats_.create_failures_total;
        creation->result = std::move(made).error();
        co_return;
    }
    ++stats_.creates_total;
    if (stats_.create_seconds.size() < kCreateTimes) {
        stats_.create_seconds.push_back(std::chrono::duration<double>{system_clock().steady() - begun}.count());
    }
    creation->result = SandboxPtr{*made};
    // Nobody knows this one: its id was ours and its caller has gone. With a chosen id it can be asked for again.
    if (creation->abandoned && !creation->chosen_id) end(*made, "abandoned", SandboxImpl::NodeSide::destroy);
}

asio::awaitable<Result<EngineImpl::Entry>> EngineImpl::make_on_node(std::shared_ptr<Creation> creation) {
    const ledger::SandboxRecord& record = creation->record;
    if (creation->chosen_id) {
        std::function<Result<std::optional<ledger::SandboxRecord>>(ledger::Records&, ledger::Ledger&)> question =
            [id = record.id](ledger::Records& records, ledger::Ledger&) { return records.sandbox(id); };
        auto before = co_await store_->ask<std::optional<ledger::SandboxRecord>>(std::move(question));
        if (!before) co_return std::move(before).error();
        if (*before) co_return taken(record.id);
    }
    control::CreateSpec spec;
    spec.id = record.id;
    spec.template_name = record.template_name;
    spec.hostname = record.id.str();
    spec.limits = record.limits;
    spec.allow_root = record.allow_root;
    spec.profile = record.profile;
    // Written while the node works: a sandbox without a record is removed at the next start, and nobody has heard of it.
    const Store::Ticket intended = store_->put([record](ledger::Records& records) { return records.put_sandbox(record); });
    auto handle = co_await node_.create(std::move(spec), creation->deadline);
    auto recorded = co_await store_->flushed(intended);
    auto sandbox = std::make_shared<SandboxImpl>(services_, admission_, std::move(creation->lease), record, ledger::Counters{});
    const bool on_node = handle.has_value();
    Result<void> started;
    if (!handle) {
        started = std::move(handle).error();
    } else if (!recorded) {
        started = std::move(recorded).error();
    } else {
        started = sandbox->start(*std::move(handle));
    }
    if (started) {
        add(sandbox);
        log::info("sandbox started", {{"sandbox", record.id.str()}, {"tenant", record.tenant.str()}, {"template", record.template_name}});
        co_return sandbox;
    }
    const auto node_side = on_node ? SandboxImpl::NodeSide::destroy : SandboxImpl::NodeSide::gone_already;
    co_await sandbox->end_life("create failed", node_side);
    co_return std::move(started).error();
}

// Admission works with figures that are at most so old when creates come; nobody waits for them.
void EngineImpl::refresh_node_status() {
    if (status_asked_ || system_clock().steady() - status_at_ < kStatusAge) return;
    status_asked_ = true;
    spawn("status", ask_node_status());
}

asio::awaitable<void> EngineImpl::ask_node_status() {
    struct Asked {
        bool& flag;
        explicit Asked(bool& f) : flag{f} {}
        ~Asked() { flag = false; }
    } asked{status_asked_};
    auto status = co_await node_status();
    if (!status) log::warn("the node's state is not known", {{"error", status.error()}});
}

}  // namespace sandboxd::engine
