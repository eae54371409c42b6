#include <catch2/catch.hpp>
#include <set>

#include "api/sandbox_list.hpp"
#include "tests/unit/api/resource_bench.hpp"

using namespace sandboxd;
using namespace sandboxd::api;
using namespace sandboxd::api::testing;
using nlohmann::json;

namespace {

std::vector<std::string> ids(const json& page) {
    std::vector<std::string> out;
    for (const auto& item : page.at("sandboxes")) out.push_back(item.at("id"));
    return out;
}

}  // namespace

TEST_CASE("a sandbox without wishes has the defaults of the product") {
    ResourceBench bench;
    const Answer answer = bench.ask("POST /v1/sandboxes");
    REQUIRE(answer.status == 201);
    const json box = answer.json();
    CHECK(answer.header("Location") == "/v1/sandboxes/" + box.at("id").get<std::string>());
    CHECK(box.at("limits") == json{{"cpus", 1}, {"memory_mb", 512}, {"disk_mb", 1024}, {"pids", 256}, {"output_mb", 64}});
    CHECK(box.at("template") == "host");
    CHECK(box.at("network") == "none");
    CHECK(box.at("timeout_s") == 300);
    CHECK(box.at("on_timeout") == "kill");
    CHECK_FALSE(bench.engine.asked.at(0).id.has_value());
    CHECK_FALSE(bench.engine.asked.at(0).provisional);
}

TEST_CASE("all that a request says reaches the engine") {
    ResourceBench bench;
    const json body = {{"template", "python"}, {"limits", {{"cpus", 0.5}, {"memory_mb", 64}}}, {"network", {{"mode", "none"}}}, {"env", {{"A", "1"}}},
                       {"metadata", {{"job", "7"}}}, {"timeout_s", 9}, {"on_timeout", "pause"}, {"id", "chosen01"}, {"provisional", true}};
    const Answer answer = bench.send("POST /v1/sandboxes", body);
    REQUIRE(answer.status == 201);
    CHECK(answer.header("Location") == "/v1/sandboxes/chosen01");
    const engine::CreateRequest& asked = bench.engine.asked.at(0);
    CHECK(asked.template_name == "python");
    CHECK(asked.limits.cpu_milli == 500);
    CHECK(asked.limits.memory_bytes == 64U << 20);
    CHECK(asked.limits.pids == 256);
    CHECK(asked.env.at("A") == "1");
    CHECK(asked.metadata.at("job") == "7");
    CHECK(asked.timeout_s == 9);
    CHECK(asked.on_timeout == ledger::OnTimeout::pause);
    CHECK(asked.id->str() == "chosen01");
    CHECK(asked.provisional);
    CHECK(answer.json().at("env") == json{{"A", "1"}});
}

TEST_CASE("what a sandbox can't have is refused by name and nothing is made") {
    ResourceBench bench;
    struct Case {
        json body;
        unsigned status;
        std::string code;
        std::string field;
    };
    const std::string generated = generate_id(IdKind::sandbox, {1, 2, 3, 4});
    const std::vector<Case> cases{
        {{{"gpu", {{"count", 1}}}}, 409, "incompatible", "gpu"},
        {{{"gpu", nullptr}}, 409, "incompatible", "gpu"},
        {{{"budget", {{"amount", "1"}}}}, 409, "incompatible", "budget"},
        {{{"network", "open"}}, 409, "incompatible", "network"},
        {{{"network", {{"mode", "open"}}}}, 409, "incompatible", "network"},
        {{{"network", 5}}, 400, "invalid_argument", "network"},
        {{{"memory_mb", 5}}, 400, "invalid_argument", "memory_mb"},
        {{{"limits", {{"memory", 5}}}}, 400, "invalid_argument", "limits.memory"},
        {{{"limits", {{"cpus", 0.0001}}}}, 400, "invalid_argument", "limits.cpus"},
        {{{"limits", {{"cpus", 0.1234}}}}, 400, "invalid_argument", "limits.cpus"},
        {{{"limits", {{"pids", 5.0}}}}, 400, "invalid_argument", "limits.pids"},
        {{{"timeout_s", 0}}, 400, "invalid_argument", "timeout_s"},
        {{{"timeout_s", "9"}}, 400, "invalid_argument", "timeout_s"},
        {{{"on_timeout", "sleep"}}, 400, "invalid_argument", "on_timeout"},
        {{{"metadata", {{"a", 1}}}}, 400, "invalid_argument", "metadata.a"},
        {{{"metadata", {{"a", std::string(16 * 1024, 'x')}}}}, 400, "invalid_argument", "metadata"},
        {{{"template", ""}}, 400, "invalid_argument", "template"},
        {{{"id", "short"}}, 400, "invalid_argument", "id"},
        {{{"id", "UPPERCASE"}}, 400, "invalid_argument", "id"},
        {{{"id", generated}}, 400, "invalid_argument", "id"},
        {{{"provisional", 1}}, 400, "invalid_argument", "provisional"},
    };
    for (const Case& one : cases) {
        INFO(one.body.dump());
        const Answer answer = bench.send("POST /v1/sandboxes", one.body);
        CHECK(answer.status == one.status);
        CHECK(answer.code() == one.code);
        CHECK(answer.detail("field") == one.field);
    }
    CHECK(bench.engine.asked.empty());
}

TEST_CASE("the tenant's ceilings bound what is asked, and its defaults where they are lower") {
    ResourceBench bench;
    policies::TenantLimits& ceiling = bench.engine.known.at(TenantId::trusted("dev")).limits;
    ceiling.per_sandbox.memory_bytes = 256U << 20;
    ceiling.max_timeout_s = 60;
    ceiling.allow_root = false;

    Answer refused = bench.send("POST /v1/sandboxes", json{{"limits", {{"memory_mb", 257}}}});
    CHECK(refused.status == 400);
    CHECK(refused.code() == "limit_exceeded");
    CHECK(refused.detail("limit") == "memory_mb");
    CHECK(refused.detail("asked") == 257);
    CHECK(refused.detail("allowed") == 256);
    refused = bench.send("POST /v1/sandboxes", json{{"profile", "debug"}});
    CHECK(refused.code() == "limit_exceeded");
    CHECK(refused.detail("allowed") == "default");
    refused = bench.send("POST /v1/sandboxes", json{{"profile", "open"}});
    CHECK(refused.code() == "invalid_argument");
    CHECK(refused.detail("field") == "profile");
    refused = bench.send("POST /v1/sandboxes", json{{"timeout_s", 61}});
    CHECK(refused.code() == "limit_exceeded");
    CHECK(refused.detail("allowed") == 60);

    REQUIRE(bench.ask("POST /v1/sandboxes").status == 201);
    CHECK(bench.engine.asked.at(0).limits.memory_bytes == 256U << 20);
    CHECK(bench.engine.asked.at(0).timeout_s == 60);
    CHECK_FALSE(bench.engine.asked.at(0).allow_root);
    CHECK(bench.engine.asked.at(0).profile == policies::Profile::standard);
    ceiling.profile = policies::Profile::strict;
    REQUIRE(bench.ask("POST /v1/sandboxes").status == 201);
    CHECK(bench.engine.asked.at(1).profile == policies::Profile::strict);
}

TEST_CASE("an unknown template is refused with those that exist") {
    ResourceBench bench;
    bench.engine.refusal = Error{Errc::not_found, "template"};
    Answer answer = bench.send("POST /v1/sandboxes", json{{"template", "nope"}});
    CHECK(answer.status == 404);
    CHECK(answer.message().find("host, python") != std::string::npos);
    CHECK(answer.detail("field") == "template");

    SECTION("and the engine's own word stands when the node can't be asked, or knows it") {
        bench.engine.refusal = Error{Errc::not_found, "something else"};
        CHECK(bench.send("POST /v1/sandboxes", json{{"template", "host"}}).message().find("something else") != std::string::npos);
        bench.engine.node_failure = Error{Errc::unavailable, "node"};
        CHECK(bench.send("POST /v1/sandboxes", json{{"template", "nope"}}).message().find("something else") != std::string::npos);
    }
}

TEST_CASE("the engine's refusals reach the caller as they are") {
    ResourceBench bench;
    bench.engine.refusal = Error{Errc::tenant_quota, "create", "2 of 2"}.fact("allowed", std::int64_t{2});
    const Answer answer = bench.ask("POST /v1/sandboxes");
    CHECK(answer.status == 429);
    CHECK(answer.detail("allowed") == 2);
}

TEST_CASE("one sandbox shows its environment, a list does not") {
    ResourceBench bench;
    auto box = bench.engine.add("box00001");
    box->facts.env = {{"SECRET", "s"}};
    CHECK(bench.ask("GET /v1/sandboxes/box00001").json().at("env") == json{{"SECRET", "s"}});
    CHECK(bench.ask("GET /v1/sandboxes").text.find("SECRET") == std::string::npos);
}

TEST_CASE("another tenant's sandbox looks like one that never was") {
    ResourceBench bench;
    bench.engine.add("box00001", 0, "other");
    for (const std::string request : {"GET /v1/sandboxes/", "PATCH /v1/sandboxes/", "DELETE /v1/sandboxes/"}) {
        const Answer theirs = bench.ask(request + "box00001", "{}");
        const Answer never = bench.ask(request + "box00002", "{}");
        CHECK(theirs.status == 404);
        CHECK(theirs.text == never.text);
    }
    for (const std::string action : {"/pause", "/resume", "/snapshot", "/fork"}) {
        CHECK(bench.ask("POST /v1/sandboxes/box00001" + action, "{}").status == 404);
    }
    CHECK(bench.engine.living.size() == 1);
    CHECK(bench.engine.living[0]->updates.empty());
    CHECK(bench.ask("GET /v1/sandboxes/..").status == 404);
    CHECK(bench.ask("GET /v1/sandboxes/" + generate_id(IdKind::sandbox, {1, 2, 3, 5})).code() == "node_lost");
}

TEST_CASE("a deleted sandbox can be deleted again") {
    ResourceBench bench;
    bench.engine.add("box00001");
    CHECK(bench.ask("DELETE /v1/sandboxes/box00001").status == 204);
    CHECK(bench.engine.living.empty());
    CHECK(bench.engine.reasons == std::vector<std::string>{"deleted"});
    const Answer again = bench.ask("DELETE /v1/sandboxes/box00001");
    CHECK(again.status == 204);
    CHECK(again.text.empty());
    CHECK(bench.engine.reasons.size() == 1);
    CHECK(bench.ask("GET /v1/sandboxes/box00001").status == 410);
}

TEST_CASE("a change touches what it names and nothing else") {
    ResourceBench bench;
    auto box = bench.engine.add("box00001");
    box->facts.metadata = {{"a", "1"}};
    box->facts.limits.pids = 99;
    const Answer answer = bench.send("PATCH /v1/sandboxes/box00001", json{{"limits", {{"memory_mb", 1024}}}, {"on_timeout", "pause"}});
    REQUIRE(answer.status == 200);
    CHECK(answer.json().at("limits").at("memory_mb") == 1024);
    CHECK(answer.json().at("limits").at("pids") == 99);
    CHECK(answer.json().at("on_timeout") == "pause");
    REQUIRE(box->updates.size() == 1);
    CHECK_FALSE(box->updates[0].timeout_s.has_value());
    CHECK_FALSE(box->updates[0].metadata.has_value());

    CHECK(bench.send("PATCH /v1/sandboxes/box00001", json{{"metadata", json::object()}}).json().at("metadata") == json::object());
    CHECK_FALSE(box->updates[1].limits.has_value());

    CHECK(bench.send("PATCH /v1/sandboxes/box00001", json{{"template", "host"}}).detail("field") == "template");
    CHECK(bench.send("PATCH /v1/sandboxes/box00001", json{{"limits", {{"memory_mb", 10'000'000}}}}).code() == "limit_exceeded");
    CHECK(bench.send("PATCH /v1/sandboxes/box00001", json{{"timeout_s", 999'999'999}}).detail("limit") == "timeout_s");
    CHECK(box->updates.size() == 2);
    box->refusal = Error{Errc::node_full, "memory"};
    CHECK(bench.send("PATCH /v1/sandboxes/box00001", json{{"timeout_s", 9}}).status == 503);
}

TEST_CASE("pause and resume answer the sandbox, and take no field") {
    ResourceBench bench;
    auto box = bench.engine.add("box00001");
    CHECK(bench.ask("POST /v1/sandboxes/box00001/pause").json().at("state") == "paused");
    CHECK(bench.ask("POST /v1/sandboxes/box00001/resume", "{}").json().at("state") == "running");
    CHECK(bench.send("POST /v1/sandboxes/box00001/pause", json{{"now", true}}).detail("field") == "now");
    CHECK(box->now == engine::SandboxState::running);
}

TEST_CASE("what this build lacks is refused by name") {
    ResourceBench bench;
    bench.engine.add("box00001");
    for (const std::string request : {"POST /v1/sandboxes/box00001/snapshot", "POST /v1/sandboxes/box00001/fork", "GET /v1/snapshots",
                                      "GET /v1/volumes", "POST /v1/volumes"}) {
        INFO(request);
        CHECK(bench.ask(request).status == 409);
        CHECK(bench.ask(request).code() == "incompatible");
    }
}

TEST_CASE("pages hold every sandbox once, newest first, whatever comes and goes meanwhile") {
    ResourceBench bench;
    for (int i = 0; i < 7; ++i) bench.engine.add("box0000" + std::to_string(i), 100 + i / 2);  // some of one age
    std::vector<std::string> seen;
    std::string cursor;
    for (int page = 0; page < 10; ++page) {
        const json answer = bench.ask("GET /v1/sandboxes?limit=2" + cursor).json();
        for (const auto& id : ids(answer)) seen.push_back(id);
        if (!answer.contains("next_cursor")) break;
        cursor = "&cursor=" + answer.at("next_cursor").get<std::string>();
        // The last one that was seen goes, a newer one comes.
        if (page == 0) {

            std::erase_if(bench.engine.living, [&](const auto& one) { return one->facts.id.str() == seen.back(); });
            bench.engine.add("newer001", 1000);
        }
    }
    CHECK(seen == std::vector<std::string>{"box00006", "box00005", "box00004", "box00003", "box00002", "box00001", "box00000"});
}

TEST_CASE("a page that is just full has no next one") {
    ResourceBench bench;
    bench.engine.add("box00001", 1);
    bench.engine.add("box00002", 2);
    CHECK_FALSE(bench.ask("GET /v1/sandboxes?limit=2").json().contains("next_cursor"));
    CHECK(bench.ask("GET /v1/sandboxes?limit=1").json().contains("next_cursor"));
    CHECK(ids(bench.ask("GET /v1/sandboxes").json()).size() == 2);
}

TEST_CASE("lists are filtered by state and by every pair of metadata") {
    ResourceBench bench;
    bench.engine.add("box00001", 1)->facts.metadata = {{"job", "a"}, {"n", "1"}};
    bench.engine.add("box00002", 2)->facts.metadata = {{"job", "a"}};
    bench.engine.add("box00003", 3)->now = engine::SandboxState::paused;
    bench.engine.add("box00004", 4, "other")->facts.metadata = {{"job", "a"}};
    CHECK(ids(bench.ask("GET /v1/sandboxes?metadata.job=a").json()) == std::vector<std::string>{"box00002", "box00001"});
    CHECK(ids(bench.ask("GET /v1/sandboxes?metadata.job=a&metadata.n=1").json()) == std::vector<std::string>{"box00001"});
    CHECK(ids(bench.ask("GET /v1/sandboxes?metadata.job=a&state=paused").json()).empty());
    CHECK(ids(bench.ask("GET /v1/sandboxes?state=paused").json()) == std::vector<std::string>{"box00003"});
    CHECK(ids(bench.ask("GET /v1/sandboxes").json()) == std::vector<std::string>{"box00003", "box00002", "box00001"});
}

TEST_CASE("a bad question about the list is refused by name") {
    ResourceBench bench;
    const std::map<std::string, std::string> cases{
        {"limit=frog", "limit"}, {"limit=0", "limit"}, {"limit=1001", "limit"}, {"limit=1x", "limit"}, {"limit=", "limit"}, {"state=gone", "state"},
        {"cursor=!!", "cursor"}, {"cursor=", "cursor"}, {"cursor=0000000000000001", "cursor"}, {"cursor=000000000000000gbox00001", "cursor"},
        {"cursor=0000000000000001BOX00001", "cursor"}, {"metadata.a=1&metadata.a=2", "metadata.a"}, {"metadata.=2", "metadata."}};
    for (const auto& [query, field] : cases) {
        INFO(query);
        const Answer answer = bench.ask("GET /v1/sandboxes?" + query);
        CHECK(answer.status == 400);
        CHECK(answer.detail("field") == field);
    }
}

TEST_CASE("a cursor reads back as the place that it was written for") {
    for (const std::int64_t ns : {0LL, 1LL, 1'700'000'000'123'456'789LL}) {
        const SandboxPlace place{WallTime{std::chrono::nanoseconds{ns}}, SandboxId::trusted("box00001")};
        const auto read = read_cursor(write_cursor(place));
        REQUIRE(read);
        CHECK(*read == place);
    }
}
