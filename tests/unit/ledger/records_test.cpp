#include "sandboxd/ledger/records.hpp"

#include <catch2/catch.hpp>
#include <limits>

#include "temp_dir.hpp"

namespace sandboxd::ledger {

bool operator==(const TenantRecord& a, const TenantRecord& b) {
    return a.id == b.id && a.limits == b.limits && a.created == b.created;
}
bool operator==(const KeyRecord& a, const KeyRecord& b) {
    return a.id == b.id && a.tenant == b.tenant && a.hash == b.hash && a.label == b.label &&
           a.admin == b.admin && a.created == b.created && a.revoked == b.revoked;
}
bool operator==(const SandboxRecord& a, const SandboxRecord& b) {
    return a.id == b.id && a.tenant == b.tenant && a.template_name == b.template_name &&
           a.limits == b.limits && a.network == b.network && a.allow_root == b.allow_root &&
           a.profile == b.profile &&
           a.env == b.env && a.metadata == b.metadata && a.timeout_s == b.timeout_s &&
           a.on_timeout == b.on_timeout && a.created == b.created && a.last_used == b.last_used &&
           a.provisional == b.provisional && a.paused == b.paused && a.ended == b.ended &&
           a.end_reason == b.end_reason;
}
bool operator==(const ExecRecord& a, const ExecRecord& b) {
    return a.sandbox == b.sandbox && a.number == b.number && a.command == b.command &&
           a.cwd == b.cwd && a.user == b.user && a.pty == b.pty && a.timeout_ms == b.timeout_ms &&
           a.output_limit == b.output_limit && a.on_output_limit == b.on_output_limit &&
           a.started == b.started && a.ended == b.ended && a.status == b.status &&
           a.exit_code == b.exit_code && a.signal == b.signal &&
           a.out_dropped == b.out_dropped && a.err_dropped == b.err_dropped && a.denials == b.denials;
}
bool operator==(const IdempotencyRecord& a, const IdempotencyRecord& b) {
    return a.tenant == b.tenant && a.key == b.key &&
           a.request_fingerprint == b.request_fingerprint && a.status == b.status &&
           a.content_type == b.content_type && a.body == b.body && a.created == b.created;
}

namespace {

using namespace std::chrono_literals;

constexpr auto kU64 = std::numeric_limits<std::uint64_t>::max();
constexpr auto kU32 = std::numeric_limits<std::uint32_t>::max();
constexpr WallTime kNow =
    std::chrono::sys_days{std::chrono::year{2026} / 1 / 31} + 12h + 123456789ns;

// A file that is opened anew for every look, so that only what is on the disk counts.
struct Store {
    TempDir dir;
    std::unique_ptr<Database> database;
    std::unique_ptr<Records> records;

    Store() { reopen(); }
    void reopen() {
        records.reset();
        database.reset();
        auto opened = Database::open(dir.file("state.db"));
        REQUIRE(opened);
        database = *std::move(opened);
        auto made = Records::open(*database);
        REQUIRE(made);
        records = *std::move(made);
    }
    Records& again() {
        reopen();
        return *records;
    }
};

// No field has its default, so that a forgotten one shows.
SandboxRecord full_sandbox(const std::string& id) {
    SandboxRecord s;
    s.id = SandboxId::trusted(id);
    s.tenant = TenantId::trusted("acme");
    s.template_name = "python";
    s.limits = {kU32, kU64, kU64 - 1, 12345, kU64 / 2 + 7};
    s.network = "allow:example.org";
    s.allow_root = false;
    s.profile = policies::Profile::debug;
    s.env = {{"PATH", "/bin"},
             {"EMPTY", ""},
             {"", "no name"},
             {"ÜNI", "ähh \"quoted\" \\ \n\t"},
             {"NUL", std::string("a\0b", 3)}};
    s.metadata = {{"team", "research"}, {"emoji", "🧪"}};
    s.timeout_s = 86400;
    s.on_timeout = OnTimeout::pause;
    s.created = kNow;
    s.last_used = kNow + 5s;
    s.provisional = true;
    s.paused = true;
    s.ended = kNow + 7s;
    s.end_reason = "timeout";
    return s;
}

ExecRecord full_exec(const std::string& sandbox, std::uint64_t exec) {
    ExecRecord e;
    e.denials = {{{"mount", "mount", "seccomp:default", "no profile allows it: \"why\"", kU64}}, 7};
    e.sandbox = SandboxId::trusted(sandbox);
    e.number = exec;
    e.command = std::string("python3 -c '\xff\0'", 16);
    e.cwd = "/home/user";
    e.user = "root";
    e.pty = true;
    e.timeout_ms = kU64;
    e.output_limit = kU64 - 3;
    e.on_output_limit = "block";
    e.started = kNow;
    e.ended = kNow + 1ns;
    e.status = "signaled";
    e.exit_code = -1;
    e.signal = 9;
    e.out_dropped = kU64;
    e.err_dropped = 7;
    return e;
}

TEST_CASE("tenants come back as they were put, and are replaced") {
    Store store;
    TenantRecord tenant{
        TenantId::trusted("acme"),
        {{kU32, kU64, kU64 - 1, 77, kU64 - 2}, 3, kU64 - 3, kU64 - 4, 5, kU64 - 5, kU64 - 6, false},
        kNow};
    REQUIRE(store.records->put_tenant({TenantId::trusted("zeta"), {}, kNow}));
    REQUIRE(store.records->put_tenant(tenant));
    tenant.limits.sandboxes = 4;
    REQUIRE(store.records->put_tenant(tenant));
    const auto tenants = store.again().tenants();
    REQUIRE(tenants);
    REQUIRE(tenants->size() == 2);
    CHECK((*tenants)[0] == tenant);
    CHECK((*tenants)[1] == TenantRecord{TenantId::trusted("zeta"), {}, kNow});
}

TEST_CASE("keys come back with their hash, and can be revoked once") {
    Store store;
    KeyRecord key{
        KeyId::trusted("key00001"), TenantId::trusted("acme"), {}, "laptop", true, kNow, {}};
    for (std::size_t i = 0; i < key.hash.size(); ++i)
        key.hash[i] = static_cast<std::byte>(i * 9);  // begins with 0
    KeyRecord other{
        KeyId::trusted("key00002"), TenantId::trusted("acme"), {}, "", false, kNow + 1s, kNow + 2s};
    other.hash.fill(std::byte{0xff});
    REQUIRE(store.records->put_key(other));
    REQUIRE(store.records->put_key(key));
    auto keys = store.again().keys();
    REQUIRE(keys);
    CHECK(*keys == std::vector{key, other});

    REQUIRE(store.records->revoke_key(key.id, kNow + 10s));
    REQUIRE(store.records->revoke_key(key.id, kNow + 20s));
    key.revoked = kNow + 10s;
    keys = store.again().keys();
    REQUIRE(keys);
    CHECK(*keys == std::vector{key, other});
    const auto unknown = store.records->revoke_key(KeyId::trusted("key00003"), kNow);
    REQUIRE(!unknown);
    CHECK(unknown.error().is(Errc::not_found));
}

TEST_CASE("two keys can't share a hash, and a key is replaced by its id") {
    Store store;
    KeyRecord key{KeyId::trusted("key00001"), TenantId::trusted("acme"), {}, "a", false, kNow, {}};
    REQUIRE(store.records->put_key(key));
    KeyRecord thief = key;
    thief.id = KeyId::trusted("key00002");
    const auto taken = store.records->put_key(thief);
    REQUIRE(!taken);
    CHECK(taken.error().is(Errc::conflict));
    key.label = "b";
    key.hash.fill(std::byte{1});
    REQUIRE(store.records->put_key(key));
    const auto keys = store.again().keys();
    REQUIRE(keys);
    CHECK(*keys == std::vector{key});
}

TEST_CASE("a sandbox comes back byte for byte, ended or not") {
    Store store;
    const SandboxRecord full = full_sandbox("sandbox0001");
    SandboxRecord plain;
    plain.id = SandboxId::trusted("sandbox0002");
    plain.tenant = TenantId::trusted("acme");
    REQUIRE(store.records->put_sandbox(full));
    REQUIRE(store.records->put_sandbox(plain));
    for (const SandboxRecord& expected : {full, plain}) {
        const auto found = store.again().sandbox(expected.id);
        REQUIRE(found);
        REQUIRE(*found);
        CHECK(**found == expected);
    }
    const auto none = store.records->sandbox(SandboxId::trusted("sandbox0003"));
    REQUIRE(none);
    CHECK(!*none);
}

TEST_CASE("living sandboxes are those that have not ended, the oldest first") {
    Store store;
    for (const auto& [id, age] : {std::pair{"sandbox000b", 1s},
                                  {"sandbox000a", 2s},
                                  {"sandbox000d", 3s},
                                  {"sandbox000c", 3s}}) {
        SandboxRecord s = full_sandbox(id);
        s.created = kNow - age;
        s.ended.reset();
        REQUIRE(store.records->put_sandbox(s));
    }
    SandboxRecord ends = full_sandbox("sandbox000a");
    REQUIRE(store.records->put_sandbox(ends));
    const auto living = store.again().living_sandboxes();
    REQUIRE(living);
    std::vector<std::string> ids;
    for (const SandboxRecord& s : *living) ids.push_back(s.id.str());
    CHECK(ids == std::vector<std::string>{"sandbox000c", "sandbox000d", "sandbox000b"});
}

TEST_CASE("env and metadata that are not UTF-8 are refused and nothing is stored") {
    Store store;
    SandboxRecord s = full_sandbox("sandbox0001");
    s.env["BAD"] = "\xff";
    auto result = store.records->put_sandbox(s);
    REQUIRE(!result);
    CHECK(result.error().is(Errc::invalid_argument));
    s = full_sandbox("sandbox0001");
    s.metadata["\xc3"] = "cut";
    result = store.records->put_sandbox(s);
    REQUIRE(!result);
    CHECK(result.error().is(Errc::invalid_argument));
    const auto found = store.records->sandbox(s.id);
    REQUIRE(found);
    CHECK(!*found);
}

TEST_CASE("a stored map that is damaged is an error that names the sandbox, not a crash") {
    Store store;
    REQUIRE(store.records->put_sandbox(full_sandbox("sandbox0001")));
    for (const char* sql : {"UPDATE sandboxes SET env = '{'", "UPDATE sandboxes SET env = '[]'",
                            "UPDATE sandboxes SET env = '{\"A\":1}'"}) {
        REQUIRE(store.database->execute(sql));
        const auto found = store.records->sandbox(SandboxId::trusted("sandbox0001"));
        REQUIRE(!found);
        CHECK(found.error().is(Errc::internal));
        CHECK_THAT(found.error().message(), Catch::Contains("sandbox0001"));
    }
}

TEST_CASE("execs come back by number, each of its own sandbox, and are replaced") {
    Store store;
    ExecRecord running = full_exec("sandbox0001", 1ULL << 40);
    running.ended.reset();
    running.status = "running";
    REQUIRE(store.records->put_exec(running));
    REQUIRE(store.records->put_exec(full_exec("sandbox0001", 2)));
    REQUIRE(store.records->put_exec(full_exec("sandbox0002", 1)));
    ExecRecord ended = full_exec("sandbox0001", 1ULL << 40);
    auto execs = store.again().execs(SandboxId::trusted("sandbox0001"));
    REQUIRE(execs);
    CHECK(*execs == std::vector{full_exec("sandbox0001", 2), running});
    REQUIRE(store.records->put_exec(ended));
    execs = store.again().execs(SandboxId::trusted("sandbox0001"));
    REQUIRE(execs);
    CHECK(*execs == std::vector{full_exec("sandbox0001", 2), ended});
}

TEST_CASE("the first claim of an idempotency key wins, and the others get its record") {
    Store store;
    const IdempotencyRecord first{TenantId::trusted("acme"), "retry-1", "f1", 0, "", "", kNow};
    IdempotencyRecord second = first;
    second.request_fingerprint = "f2";
    second.created = kNow + 1s;
    auto claim = store.records->claim_idempotency(first);
    REQUIRE(claim);
    CHECK(!*claim);
    claim = store.again().claim_idempotency(second);
    REQUIRE(claim);
    REQUIRE(*claim);
    CHECK(**claim == first);

    IdempotencyRecord answer = first;
    answer.status = 201;
    answer.content_type = "application/json";
    answer.body = std::string("{\"id\":\"\xff\0\"}", 11);
    REQUIRE(store.records->finish_idempotency(answer));
    claim = store.again().claim_idempotency(second);
    REQUIRE(claim);
    REQUIRE(*claim);
    CHECK(**claim == answer);

    // The same key of another tenant is another key.
    IdempotencyRecord foreign = second;
    foreign.tenant = TenantId::trusted("globex");
    claim = store.records->claim_idempotency(foreign);
    REQUIRE(claim);
    CHECK(!*claim);

    REQUIRE(store.records->drop_idempotency(first.tenant, first.key));
    REQUIRE(store.records->finish_idempotency(answer));  // too late: nothing happens
    claim = store.records->claim_idempotency(second);
    REQUIRE(claim);
    CHECK(!*claim);
}

TEST_CASE("after a restart finished requests have their answers, and the others are known to have begun") {
    Store store;
    IdempotencyRecord done{TenantId::trusted("acme"), "done", "f", 0, "", "", kNow};
    IdempotencyRecord dead{TenantId::trusted("acme"), "dead", "f", 0, "", "", kNow};
    REQUIRE(store.records->claim_idempotency(done));
    REQUIRE(store.records->claim_idempotency(dead));
    done.status = 200;
    REQUIRE(store.records->finish_idempotency(done));
    store.again();
    auto claim = store.records->claim_idempotency(dead);
    REQUIRE(claim);
    REQUIRE(*claim);
    CHECK((*claim)->status == 0);
    claim = store.records->claim_idempotency(done);
    REQUIRE(claim);
    REQUIRE(*claim);
    CHECK((*claim)->status == 200);
}

TEST_CASE("pruning forgets what ended before, with its execs, and nothing else") {
    Store store;
    SandboxRecord old = full_sandbox("sandboxold1");
    old.ended = kNow - 1ns;
    SandboxRecord edge = full_sandbox("sandboxedge");
    edge.ended = kNow;
    SandboxRecord living = full_sandbox("sandboxlive");
    living.ended.reset();
    for (const SandboxRecord& s : {old, edge, living}) {
        REQUIRE(store.records->put_sandbox(s));
        ExecRecord exec = full_exec(s.id.str(), 1);
        exec.started = kNow - 1h;
        REQUIRE(store.records->put_exec(exec));
    }
    ExecRecord orphan = full_exec("sandboxgone", 1);
    orphan.started = kNow - 1h;
    REQUIRE(store.records->put_exec(orphan));
    ExecRecord fresh_orphan = full_exec("sandboxgone", 2);
    REQUIRE(store.records->put_exec(fresh_orphan));  // its sandbox's record may come yet
    REQUIRE(store.records->claim_idempotency(
        {TenantId::trusted("acme"), "old", "f", 0, "", "", kNow - 1ns}));
    REQUIRE(
        store.records->claim_idempotency({TenantId::trusted("acme"), "new", "f", 0, "", "", kNow}));

    REQUIRE(store.records->prune(kNow));

    const auto execs_of = [&](const char* id) {
        const auto execs = store.records->execs(SandboxId::trusted(id));
        REQUIRE(execs);
        return execs->size();
    };
    const auto known = [&](const char* id) {
        const auto found = store.records->sandbox(SandboxId::trusted(id));
        REQUIRE(found);
        return found->has_value();
    };
    store.reopen();
    CHECK(!known("sandboxold1"));
    CHECK(execs_of("sandboxold1") == 0);
    CHECK(known("sandboxedge"));
    CHECK(execs_of("sandboxedge") == 1);
    CHECK(known("sandboxlive"));
    CHECK(execs_of("sandboxlive") == 1);
    CHECK(execs_of("sandboxgone") == 1);
    auto claim =
        store.records->claim_idempotency({TenantId::trusted("acme"), "old", "g", 0, "", "", kNow});
    REQUIRE(claim);
    CHECK(!*claim);
    claim =
        store.records->claim_idempotency({TenantId::trusted("acme"), "new", "g", 0, "", "", kNow});
    REQUIRE(claim);
    CHECK(*claim);
}

}  // namespace
}  // namespace sandboxd::ledger
