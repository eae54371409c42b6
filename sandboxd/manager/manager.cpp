#include "sandboxd/manager/manager.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <unordered_map>

#include "isolation/jail.hpp"
#include "sandboxd/core/async.hpp"
#include "sandboxd/core/log.hpp"
#include "sandboxd/core/sys.hpp"
#include "sandboxd/manager/agent_socket.hpp"
#include "sandboxd/manager/create_spec.hpp"
#include "sandboxd/manager/entry.hpp"
#include "sandboxd/manager/host_memory.hpp"
#include "sandboxd/manager/janitor.hpp"
#include "sandboxd/manager/parts.hpp"

namespace sandboxd::manager {

namespace {

enum class Listing { listed, unlisted };

// What ids of the contract look like; a name that doesn't must not become one by which things are removed.
bool looks_like_an_id(const std::string& name) {
    const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    return name.size() >= 8 && name.size() <= 40 && std::all_of(name.begin(), name.end(), plain);
}

class ManagerImpl final : public Manager {
public:
    ManagerImpl(asio::any_io_executor executor, ManagerConfig config, Parts parts)
        : executor_{executor},
          config_{std::move(config)},
          parts_{std::move(parts)},
          janitor_{executor, *parts_.cgroups, *parts_.pool, parts_.states, parts_.agent_dir.get()},
          tasks_{executor} {}

    // ---- start -------------------------------------------------------------------------------------------

    Result<void> adopt_what_lives() {
        SBX_TRY(const auto found, parts_.states.read_all());
        std::set<std::string> known;
        for (const SandboxState& state : found.states) {
            known.insert(state.id.str());
            adopt_or_remove(state);
        }
        SBX_TRY(const auto groups, parts_.cgroups->list());
        SBX_TRY(const auto volumes, parts_.pool->list());
        std::set<std::string> strays{groups.begin(), groups.end()};
        strays.insert(volumes.begin(), volumes.end());
        for (const std::string& file : found.unreadable) {
            const std::string name = file.substr(0, file.find('.'));
            Result<void> removed = Error{Errc::invalid_argument, "state file", "no sandbox's name"};
            if (looks_like_an_id(name)) removed = sys::unlinkat(AT_FDCWD, (config_.state_dir + "/sandboxes/" + file).c_str());
            if (!removed) {  // no sandbox's, or no file: somebody put it there, and it is in nobody's way
                log::warn("ignoring something strange among the state files", {{"file", file}, {"error", removed.error()}});
                continue;
            }
            log::warn("removing a state file that can't be read", {{"file", file}});
            strays.insert(name);
        }
        for (const std::string& name : strays) {
            if (known.contains(name)) continue;
            SandboxState state;
            state.id = SandboxId::trusted(name);
            log::warn("removing what is left of an unknown sandbox", {{"sandbox", name}});
            auto entry = std::make_shared<Entry>(executor_, std::move(state));
            remove_unadopted(std::move(entry), false);
        }
        return {};
    }

    // ---- Node --------------------------------------------------------------------------------------------

    asio::awaitable<Result<control::SandboxHandle>> create(control::CreateSpec spec, Deadline deadline) override {
        if (refusal_) co_return *refusal_;
        if (listed_count() >= config_.sandboxes_max) {
            Error full{Errc::node_full, "create", "this node runs as many sandboxes as it may"};
            co_return std::move(full).fact("limit", "sandboxes_max").fact("allowed", std::int64_t{config_.sandboxes_max});
        }
        co_return co_await make(std::move(spec), Listing::listed, deadline);
    }

    asio::awaitable<Result<Unlisted>> create_unlisted(control::CreateSpec spec, Deadline deadline) override {
        const SandboxId id = spec.id;
        SBX_CO_TRY(control::SandboxHandle handle, co_await make(std::move(spec), Listing::unlisted, deadline));
        const auto found = entries_.find(id);
        if (found == entries_.end()) co_return Error{Errc::gone, "create", "it died at once"};
        co_return Unlisted{std::move(handle), found->second->state.ids};
    }

    asio::awaitable<Result<control::SandboxHandle>> make(control::CreateSpec spec, Listing listing, Deadline deadline) {
        SBX_CO_CHECK(check_spec(spec));
        if (entries_.contains(spec.id) || janitor_.removing(spec.id)) {
            co_return Error{Errc::conflict, "create", "a sandbox with this id exists or is being removed"};
        }
        SandboxState state;
        state.id = spec.id;
        state.template_name = spec.template_name;
        state.limits = spec.limits;
        SBX_CO_TRY(state.ids, parts_.ids.allocate());
        state.first_cpu = parts_.cpus.place(spec.limits.cpu_milli);
        auto entry = std::make_shared<Entry>(executor_, std::move(state));
        entry->unlisted = listing == Listing::unlisted;
        entries_.emplace(spec.id, entry);

        auto built = co_await build(entry, spec, deadline);
        auto handle = built ? make_handle(*entry) : Result<control::SandboxHandle>{std::move(built).error()};
        if (!handle) {
            entry->destroy_asked = true;
            if (entry->jail) {
                entry->phase = Entry::Phase::running;
                tasks_.spawn("watch", watch(entry));
                (void)entry->cgroup->kill();  // the janitor kills again; watch() removes
            } else {
                forget(entry);
            }
            co_return std::move(handle).error().with("creating sandbox " + spec.id.str());
        }
        entry->phase = Entry::Phase::running;
        entry->changed.notify();
        tasks_.spawn("watch", watch(entry));
        co_return handle;
    }

    asio::awaitable<Result<void>> destroy(SandboxId id, Deadline deadline) override {
        const auto found = entries_.find(id);
        if (found == entries_.end()) co_return Result<void>{};
        const EntryPtr entry = found->second;
        entry->destroy_asked = true;
        while (entry->phase == Entry::Phase::creating && !entry->dead) {
            SBX_CO_CHECK(co_await entry->changed.wait(deadline));
        }
        if (entry->phase == Entry::Phase::running) {
            entry->phase = Entry::Phase::ending;
            SBX_CO_CHECK(entry->cgroup->kill());
        }
        while (!entry->dead) SBX_CO_CHECK(co_await entry->changed.wait(deadline));
        co_return Result<void>{};
    }

    asio::awaitable<Result<control::SandboxHandle>> reconnect(SandboxId id, Deadline) override {
        SBX_CO_TRY(const EntryPtr entry, running(id));
        co_return make_handle(*entry);
    }

    asio::awaitable<Result<std::vector<SandboxId>>> list(Deadline) override {
        std::vector<SandboxId> out;
        for (const auto& [id, entry] : entries_) {
            if (entry->phase == Entry::Phase::running && !entry->unlisted) out.push_back(id);
        }
        co_return out;
    }

    asio::awaitable<Result<void>> set_frozen(SandboxId id, bool frozen, Deadline) override {
        SBX_CO_TRY(const EntryPtr entry, running(id));
        SBX_CO_CHECK(entry->cgroup->freeze(frozen));
        entry->frozen = frozen;
        co_return Result<void>{};
    }

    asio::awaitable<Result<void>> set_limits(SandboxId id, policies::Limits limits, Deadline) override {
        SBX_CO_TRY(const EntryPtr entry, running(id));
        SBX_CO_CHECK(entry->cgroup->set_limits(cgroup_limits(limits)));
        if (limits.disk_bytes != entry->state.limits.disk_bytes) {
            SBX_CO_CHECK(parts_.pool->set_limit(id.str(), limits.disk_bytes));
        }
        parts_.cpus.remove(entry->state.first_cpu, entry->state.limits.cpu_milli);
        parts_.cpus.add(entry->state.first_cpu, limits.cpu_milli);
        entry->state.limits = limits;
        co_return parts_.states.write(entry->state);
    }

    asio::awaitable<Result<std::vector<std::uint64_t>>> disk_usage(std::vector<SandboxId> ids, Deadline) override {
        std::vector<std::uint64_t> out;
        out.reserve(ids.size());
        for (const SandboxId& id : ids) {
            auto used = entries_.contains(id) ? parts_.pool->used_bytes(id.str()) : Result<std::uint64_t>{0};
            out.push_back(used ? *used : 0);
        }
        co_return out;
    }

    asio::awaitable<Result<control::NodeStatus>> status(Deadline) override {
        SBX_CO_TRY(const fs::PoolStatus pool, parts_.pool->status());
        SBX_CO_TRY(const HostMemory memory, read_host_memory());
        control::NodeStatus out;
        out.cgroup_v2 = parts_.cgroups->mode() == isolation::CgroupMode::v2;
        out.pool_kind = std::string{fs::to_string(pool.kind)};
        out.pool_total_bytes = pool.total_bytes;
        out.pool_free_bytes = pool.free_bytes;
        out.memory_total_bytes = memory.total_bytes;
        out.memory_available_bytes = memory.available_bytes;
        out.cpus = static_cast<std::uint32_t>(::sysconf(_SC_NPROCESSORS_ONLN));
        out.sandboxes = static_cast<std::uint32_t>(listed_count());
        if (refusal_) out.refusal = refusal_->message();
        out.sandboxes_max = config_.sandboxes_max;
        out.removals_pending = janitor_.pending();
        out.removals_stuck = janitor_.stuck();
        for (const fs::TemplateInfo& info : parts_.templates->list()) out.templates.push_back(info.name);
        co_return out;
    }

    void drained() override {
        if (on_drained) on_drained();
    }

    asio::awaitable<Result<control::Attestation>> attest(control::AttestRequest request, Deadline deadline) override {
        if (!attest_with) co_return Error{Errc::incompatible, "attest", "this daemon has no self-test"};
        co_return co_await attest_with(std::move(request), deadline);
    }

    void refuse_creates(std::optional<Error> why) override { refusal_ = std::move(why); }
    const isolation::SeccompFilters& filters() const override { return parts_.seccomp[static_cast<std::size_t>(policies::Profile::standard)]; }

    // ---- stop --------------------------------------------------------------------------------------------

    std::uint32_t api_fallback_id() const override { return parts_.ids.api_fallback_id(); }
    std::uint32_t probe_id() const override { return parts_.ids.probe_id(); }

    asio::awaitable<Result<void>> destroy_all(Deadline deadline) override {
        std::vector<SandboxId> ids;
        for (const auto& [id, entry] : entries_) ids.push_back(id);
        // All are told to die first, then awaited one by one: the kernel works on them at the same time.
        for (const SandboxId& id : ids) {
            const EntryPtr entry = entries_.at(id);
            entry->destroy_asked = true;
            if (entry->phase == Entry::Phase::running) (void)entry->cgroup->kill();
        }
        for (const SandboxId& id : ids) SBX_CO_CHECK(co_await destroy(id, deadline));
        co_return co_await janitor_.join(deadline);
    }

    asio::awaitable<Result<void>> stop(Deadline deadline) override {
        auto removed = co_await janitor_.join(deadline);
        tasks_.cancel();
        janitor_.cancel();
        const Deadline ending = Deadline::after(std::chrono::seconds{5});
        (void)co_await tasks_.join(ending);
        (void)co_await janitor_.join(ending);
        if (!removed) co_return removed;
        if (!entries_.empty()) co_return Result<void>{};
        SBX_CO_CHECK(parts_.pool->close());
        co_return parts_.cgroups->remove_root();
    }

private:
    // Each step is undone by the janitor, which removes whatever exists under the sandbox's name.
    asio::awaitable<Result<void>> build(EntryPtr entry, control::CreateSpec spec, Deadline deadline) {
        const std::string& name = spec.id.str();
        SBX_CO_CHECK(parts_.states.write(entry->state));
        SBX_CO_TRY(const std::string volume, parts_.pool->create(name, spec.limits.disk_bytes));
        SBX_CO_TRY(entry->cgroup, parts_.cgroups->create(name, cgroup_limits(spec.limits), entry->state.ids));
        SBX_CO_TRY(const Fd listener, listen_agent(parts_.agent_dir.get(), spec.id));

        isolation::JailSpec jail;
        jail.ids = entry->state.ids;
        jail.hostname = spec.hostname;
        SBX_CO_TRY(jail.mounts, parts_.templates->plan(spec.template_name, volume));
        jail.shm_bytes = shm_bytes(spec.limits);
        jail.allow_root = spec.allow_root;
        jail.rlimits = isolation::default_rlimits();
        jail.init_binary = config_.init_binary.get();
        jail.agent_listener = listener.get();
        jail.cpu_info = parts_.cpu_info.get();
        jail.sudo_client = parts_.sudo.file.get();
        jail.first_cpu = entry->state.first_cpu;
        jail.cgroup = entry->cgroup.get();
        jail.seccomp = &parts_.seccomp[static_cast<std::size_t>(spec.profile)];
        auto launched = co_await isolation::Jail::launch(std::move(jail), deadline);
        entry->cgroup->release();
        SBX_CO_TRY(entry->jail, std::move(launched));
        entry->state.init = entry->jail->init();
        entry->state.walls = entry->jail->walls();
        co_return parts_.states.write(entry->state);
    }

    // Holds a running sandbox from its start to the moment when its PID 1, and with it the whole pid namespace, is gone.
    asio::awaitable<void> watch(EntryPtr entry) {
        auto ended = co_await entry->jail->wait(Deadline::never());
        if (!ended) co_return;  // the daemon stops; the sandbox goes on
        if (!entry->destroy_asked) {
            log::warn("a sandbox's PID 1 died", {{"sandbox", entry->state.id.str()}});
            if (on_gone && !entry->unlisted) on_gone(entry->state.id, control::GoneReason::init_died);
        }
        forget(entry);
    }

    // No process is left: out of the table, and its things to the janitor.
    void forget(const EntryPtr& entry) {
        entries_.erase(entry->state.id);
        parts_.cpus.remove(entry->state.first_cpu, entry->state.limits.cpu_milli);
        entry->phase = Entry::Phase::ending;
        entry->dead = true;
        janitor_.remove(entry, [this, ids = entry->state.ids] { parts_.ids.release(ids); });
        entry->changed.notify();
    }

    void adopt_or_remove(const SandboxState& state) {
        auto entry = std::make_shared<Entry>(executor_, state);
        const bool ids_ours = parts_.ids.take(state.ids).has_value();
        auto adopted = adopt(*entry);
        if (adopted && ids_ours) {
            entry->phase = Entry::Phase::running;
            entries_.emplace(state.id, entry);
            parts_.cpus.add(state.first_cpu, state.limits.cpu_milli);
            tasks_.spawn("watch", watch(entry));
            log::info("adopted a sandbox", {{"sandbox", state.id.str()}, {"pid", state.init.pid}});
            return;
        }
        log::info("removing a sandbox that can't be adopted",
                  {{"sandbox", state.id.str()}, {"reason", adopted ? std::string{"its ids are taken"} : adopted.error().message()}});
        remove_unadopted(std::move(entry), ids_ours);
    }

    Result<void> adopt(Entry& entry) {
        if (entry.state.init.pid == 0) return Error{Errc::not_found, "adopt", "it was never completed"};
        SBX_TRY(entry.cgroup, parts_.cgroups->open(entry.state.id.str()));
        SBX_TRY(entry.jail, isolation::Jail::adopt(entry.state.init));
        return {};
    }

    void remove_unadopted(EntryPtr entry, bool release_ids) {
        entry->destroy_asked = true;
        entry->dead = true;
        entry->phase = Entry::Phase::ending;
        janitor_.remove(entry, [this, release_ids, ids = entry->state.ids] {
            if (release_ids) parts_.ids.release(ids);
        });
    }

    std::size_t listed_count() const {
        return static_cast<std::size_t>(std::count_if(entries_.begin(), entries_.end(), [](const auto& of) { return !of.second->unlisted; }));
    }

    Result<EntryPtr> running(const SandboxId& id) const {
        const auto found = entries_.find(id);
        if (found == entries_.end()) return Error{Errc::not_found, "sandbox", id.str() + " does not exist"};
        if (found->second->phase != Entry::Phase::running) return Error{Errc::conflict, "sandbox", id.str() + " is being made or removed"};
        return found->second;
    }

    Result<control::SandboxHandle> make_handle(const Entry& entry) const {
        control::SandboxHandle handle;
        handle.id = entry.state.id;
        SBX_TRY(handle.agent, connect_agent(parts_.agent_dir.get(), entry.state.id));
        SBX_TRY(handle.memory_dir, entry.cgroup->open_memory_dir());
        SBX_TRY(handle.cpu_dir, entry.cgroup->open_cpu_dir());
        SBX_TRY(handle.pids_dir, entry.cgroup->open_pids_dir());
        handle.cgroup_v2 = parts_.cgroups->mode() == isolation::CgroupMode::v2;
        handle.frozen = entry.frozen;
        return handle;
    }

    asio::any_io_executor executor_;
    ManagerConfig config_;
    Parts parts_;
    std::unordered_map<SandboxId, EntryPtr> entries_;
    std::optional<Error> refusal_;
    Janitor janitor_;
    TaskGroup tasks_;
};

}  // namespace

asio::awaitable<Result<std::unique_ptr<Manager>>> Manager::start(asio::any_io_executor executor, ManagerConfig config) {
    SBX_CO_TRY(Parts parts, open_parts(config));
    auto manager = std::make_unique<ManagerImpl>(std::move(executor), std::move(config), std::move(parts));
    auto adopted = manager->adopt_what_lives();
    if (!adopted) {
        const Deadline ending = Deadline::after(std::chrono::seconds{10});
        (void)co_await manager->stop(ending);  // the first failure is the one to tell
        co_return std::move(adopted).error();
    }
    co_return std::unique_ptr<Manager>{std::move(manager)};
}

}  // namespace sandboxd::manager
