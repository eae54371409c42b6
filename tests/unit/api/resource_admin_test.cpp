#include <catch2/catch.hpp>

#include "tests/unit/api/resource_bench.hpp"

using namespace sandboxd;
using namespace sandboxd::api;
using namespace sandboxd::api::testing;
using nlohmann::json;

TEST_CASE("every route below /v1/admin needs admin rights, and every other one does not") {
    for (const auto table : {sandbox_routes(), usage_routes(), admin_routes(), operations_routes()}) {
        for (const Route& route : table) {
            INFO(route.pattern);
            CHECK((route.auth == Auth::admin) == route.pattern.starts_with("/v1/admin/"));
            CHECK((route.auth == Auth::none) == !route.pattern.starts_with("/v1/"));
        }
    }
}

TEST_CASE("a new tenant has the default ceilings but for those that are named") {
    ResourceBench bench;
    const Answer answer = bench.send("PUT /v1/admin/tenants/acme", json{{"limits", {{"sandboxes", 2}, {"cpus", 1.5}, {"per_sandbox", {{"memory_mb", 64}}}}}});
    REQUIRE(answer.status == 200);
    const policies::TenantLimits& kept = bench.engine.known.at(TenantId::trusted("acme")).limits;
    policies::TenantLimits expected;
    expected.sandboxes = 2;
    expected.cpu_milli = 1500;
    expected.per_sandbox.memory_bytes = 64U << 20;
    CHECK(kept == expected);
    CHECK(answer.json().at("limits").at("cpus") == 1.5);
    CHECK(answer.json().at("limits").at("per_sandbox").at("memory_mb") == 64);
    CHECK(answer.json().at("id") == "acme");
    CHECK(bench.ask("GET /v1/admin/tenants/acme").text == answer.text);
}

TEST_CASE("a change of ceilings keeps those that it does not name, and the time of creation") {
    ResourceBench bench;
    (void)bench.send("PUT /v1/admin/tenants/dev", json{{"limits", {{"sandboxes", 2}}}});
    const Answer answer = bench.send("PUT /v1/admin/tenants/dev",
                                     json{{"limits", {{"memory_mb", 100}, {"creates_per_second", 5}, {"max_timeout_s", 6}, {"max_exec_ms", 7},
                                                      {"allow_root", false}, {"per_sandbox", {{"pids", 8}}}}}});
    const json limits = answer.json().at("limits");
    CHECK(limits.at("sandboxes") == 2);
    CHECK(limits.at("memory_mb") == 100);
    CHECK(limits.at("creates_per_second") == 5);
    CHECK(limits.at("max_timeout_s") == 6);
    CHECK(limits.at("max_exec_ms") == 7);
    CHECK(limits.at("allow_root") == false);
    CHECK(limits.at("per_sandbox").at("pids") == 8);
    CHECK(answer.json().at("created_at") == "2023-11-14T22:13:20.000Z");
    CHECK(bench.ask("PUT /v1/admin/tenants/dev", "{}").json() == answer.json());
    // What is answered can be sent back.
    CHECK(bench.send("PUT /v1/admin/tenants/dev", json{{"limits", limits}}).json() == answer.json());
}

TEST_CASE("bad tenants and ceilings are refused by name and change nothing") {
    ResourceBench bench;
    CHECK(bench.ask("PUT /v1/admin/tenants/No", "{}").detail("field") == "tenant");
    CHECK(bench.ask("GET /v1/admin/tenants/nobody").status == 404);
    for (const auto& [limits, field] : std::vector<std::pair<json, std::string>>{{{{"sandboxes", -1}}, "limits.sandboxes"},
                                                                                 {{{"cpus", 0.00001}}, "limits.cpus"},
                                                                                 {{{"boxes", 1}}, "limits.boxes"},
                                                                                 {{{"max_timeout_s", 1e12}}, "limits.max_timeout_s"},
                                                                                 {{{"per_sandbox", {{"pids", 1}}}}, "limits.per_sandbox.pids"}}) {
        INFO(limits.dump());
        const Answer answer = bench.send("PUT /v1/admin/tenants/acme", json{{"limits", limits}});
        CHECK(answer.status == 400);
        CHECK(answer.detail("field") == field);
    }
    CHECK(bench.engine.known.size() == 2);
}

TEST_CASE("tenants are listed by name, in pages") {
    ResourceBench bench;
    bench.engine.add_tenant("aaa");
    const json first = bench.ask("GET /v1/admin/tenants?limit=2").json();
    CHECK(first.at("tenants").at(0).at("id") == "aaa");
    CHECK(first.at("tenants").at(1).at("id") == "dev");
    CHECK(first.at("next_cursor") == "dev");
    const json last = bench.ask("GET /v1/admin/tenants?limit=2&cursor=dev").json();
    CHECK(last.at("tenants").size() == 1);
    CHECK(last.at("tenants").at(0).at("id") == "other");
    CHECK_FALSE(last.contains("next_cursor"));
    CHECK(bench.ask("GET /v1/admin/tenants?cursor=!").detail("field") == "cursor");
}

TEST_CASE("the secret of a key is in the answer that made it and nowhere else") {
    ResourceBench bench;
    const Answer made = bench.send("POST /v1/admin/keys", json{{"tenant", "other"}, {"label", "ci"}, {"admin", true}});
    REQUIRE(made.status == 201);
    const json key = made.json();
    CHECK(key.at("secret") == "sbx_" + std::string(43, 'x'));
    CHECK(key.at("tenant") == "other");
    CHECK(key.at("label") == "ci");
    CHECK(key.at("admin") == true);
    CHECK(made.header("Cache-Control") == "no-store");

    const Answer list = bench.ask("GET /v1/admin/keys");
    CHECK(list.text.find("sbx_") == std::string::npos);
    CHECK(list.json().at("keys").at(0).at("id") == key.at("id"));
    CHECK_FALSE(list.json().at("keys").at(0).contains("revoked_at"));
    for (const Route& route : admin_routes()) CHECK(route.secret == (route.operation_id == "createKey"));
}

TEST_CASE("a key of nobody is not made") {
    ResourceBench bench;
    CHECK(bench.send("POST /v1/admin/keys", json{{"tenant", "nobody"}}).status == 404);
    CHECK(bench.send("POST /v1/admin/keys", json{{"tenant", "No"}}).detail("field") == "tenant");
    CHECK(bench.send("POST /v1/admin/keys", json{{"label", "x"}}).detail("field") == "tenant");
    CHECK(bench.send("POST /v1/admin/keys", json{{"tenant", "dev"}, {"label", std::string(201, 'x')}}).detail("field") == "label");
    CHECK(bench.engine.key_records.empty());
}

TEST_CASE("a key is revoked by its id, and told apart from one that never was") {
    ResourceBench bench;
    const std::string id = bench.send("POST /v1/admin/keys", json{{"tenant", "dev"}}).json().at("id");
    CHECK(bench.ask("DELETE /v1/admin/keys/" + id).status == 204);
    CHECK(bench.ask("DELETE /v1/admin/keys/" + id).status == 204);
    CHECK(bench.ask("GET /v1/admin/keys").json().at("keys").at(0).at("revoked_at") == "2023-11-14T22:13:21.000Z");
    CHECK(bench.ask("DELETE /v1/admin/keys/" + generate_id(IdKind::key, {})).status == 404);
    CHECK(bench.ask("DELETE /v1/admin/keys/nonsense").status == 404);
}

TEST_CASE("keys are listed by id, in pages, and for one tenant") {
    ResourceBench bench;
    for (const char* tenant : {"dev", "other", "dev", "dev", "other"}) (void)bench.send("POST /v1/admin/keys", json{{"tenant", tenant}});
    std::vector<std::string> seen;
    std::string cursor;
    do {
        const json page = bench.ask("GET /v1/admin/keys?limit=2" + cursor).json();
        for (const auto& key : page.at("keys")) seen.push_back(key.at("id"));
        cursor = page.contains("next_cursor") ? "&cursor=" + page.at("next_cursor").get<std::string>() : "";
    } while (!cursor.empty());
    CHECK(seen.size() == 5);
    CHECK(std::is_sorted(seen.begin(), seen.end()));
    CHECK(std::adjacent_find(seen.begin(), seen.end()) == seen.end());
    CHECK(bench.ask("GET /v1/admin/keys?tenant=other").json().at("keys").size() == 2);
    CHECK(bench.ask("GET /v1/admin/keys?cursor=dev").detail("field") == "cursor");
}

TEST_CASE("cordon and uncordon say what holds now") {
    ResourceBench bench;
    CHECK(bench.ask("POST /v1/admin/cordon").json() == json{{"cordoned", true}});
    CHECK(bench.engine.is_cordoned);
    CHECK(bench.ask("POST /v1/admin/uncordon", "{}").json() == json{{"cordoned", false}});
    CHECK(bench.send("POST /v1/admin/cordon", json{{"x", 1}}).status == 400);
    CHECK_FALSE(bench.engine.is_cordoned);
}

TEST_CASE("drain answers when the last program has ended") {
    ResourceBench bench;
    auto box = bench.engine.add("box00001", 0, "other");
    auto program = std::make_shared<FakeExec>(bench.io.get_executor(), 1, engine::ExecRequest{});
    box->programs.push_back(program);
    bench.engine.busy = true;
    const auto exchange = bench.begin("POST /v1/admin/drain", R"({"timeout_s":3600})");
    CHECK(bench.engine.is_cordoned);
    CHECK_FALSE(exchange->answer.has_value());
    program->exit();
    bench.engine.busy = false;
    bench.engine.quiet.notify();
    exchange->step();
    CHECK(answer_of(*exchange).json() ==
          json{{"drained", true}, {"cordoned", true}, {"sandboxes", 1}, {"execs_running", 0}, {"running", json::array()}});
}

TEST_CASE("drain says what still runs when its time is over, or its client has left") {
    ResourceBench bench;
    auto box = bench.engine.add("box00001", 0, "other");
    for (int i = 1; i <= 120; ++i) box->programs.push_back(std::make_shared<FakeExec>(bench.io.get_executor(), i, engine::ExecRequest{}));
    box->programs[0]->exit();
    bench.engine.busy = true;
    std::unique_ptr<PlainExchange> exchange;
    SECTION("at once with no time") {
        exchange = bench.begin("POST /v1/admin/drain", R"({"timeout_s":0})");
        while (!exchange->answer) {
            bench.io.restart();
            bench.io.run_one();
        }
    }
    SECTION("client") {
        exchange = bench.begin("POST /v1/admin/drain");
        CHECK_FALSE(exchange->answer.has_value());
        exchange->leave();
    }
    const json body = answer_of(*exchange).json();
    CHECK(body.at("drained") == false);
    CHECK(body.at("execs_running") == 119);
    CHECK(body.at("running").size() == 100);
    CHECK(body.at("running").at(0).at("sandbox_id") == "box00001");
    CHECK(body.at("running").at(0).at("exec_id") == exec_id_from_number(2).str());
    CHECK(body.at("running").at(0).at("tenant") == "other");
    CHECK(bench.engine.is_cordoned);
    exchange->step();
}

TEST_CASE("the time of a drain is bounded") {
    ResourceBench bench;
    CHECK(bench.ask("POST /v1/admin/drain", R"({"timeout_s":3601})").detail("field") == "timeout_s");
    CHECK_FALSE(bench.engine.is_cordoned);
}

TEST_CASE("looking at the node or draining takes nothing away from the metrics") {
    ResourceBench bench;
    bench.engine.figures.create_seconds = {0.1};
    (void)bench.ask("GET /v1/admin/node");
    (void)bench.ask("POST /v1/admin/drain", R"({"timeout_s":0})");
    (void)bench.ask("GET /readyz");
    CHECK(bench.engine.figures.create_seconds.size() == 1);
}

TEST_CASE("the node says what it has and who it is") {
    ResourceBench bench;
    bench.engine.status.cpus = 3;
    bench.engine.status.pool_kind = "tmpfs";
    bench.engine.status.removals_stuck = 1;
    bench.engine.status.cgroup_v2 = true;
    bench.engine.is_cordoned = true;
    const json body = bench.ask("GET /v1/admin/node").json();
    CHECK(body.at("cpus") == 3);
    CHECK(body.at("cgroup") == 2);
    CHECK(body.at("pool_kind") == "tmpfs");
    CHECK(body.at("removals_stuck") == 1);
    CHECK(body.at("cordoned") == true);
    CHECK(body.at("identity") == json{{"region", 1}, {"cell", 2}, {"node", 3}, {"epoch", 4}});
    CHECK(body.at("version").get<std::string>().size() >= 5);
    bench.engine.node_failure = Error{Errc::unavailable, "node"};
    CHECK(bench.ask("GET /v1/admin/node").status == 503);
}
