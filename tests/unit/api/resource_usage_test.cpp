#include <catch2/catch.hpp>

#include "tests/unit/api/resource_bench.hpp"

using namespace sandboxd;
using namespace sandboxd::api::testing;
using nlohmann::json;

namespace {

ledger::Usage usage(std::uint64_t cpu_ns, policies::PicoMoney cost) {
    ledger::Usage out;
    out.counters.cpu_ns = cpu_ns;
    out.counters.memory_kib_ms = 5 * 1024 + 1023;
    out.cost = cost;
    out.currency = "USD";
    out.price_book = "default@1";
    return out;
}

}  // namespace

TEST_CASE("usage is integers and a decimal string, row by row and in total") {
    ResourceBench bench;
    bench.engine.page.rows = {{"dev", "box00001", "idle", {}, usage(1'999'999, 1)}, {"dev", {}, {}, "2026-01-31", usage(0, 0)}};
    bench.engine.page.total = usage(3'000'000'000, 1'230'000);
    bench.engine.page.next_cursor = "abc";
    const json body = bench.ask("GET /v1/usage?from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z&group_by=exec").json();
    CHECK(body.at("from") == "2026-01-01T00:00:00.000Z");
    CHECK(body.at("to") == "2026-02-01T00:00:00.000Z");
    CHECK(body.at("group_by") == "exec");
    CHECK(body.at("next_cursor") == "abc");
    const json expected = {{"tenant", "dev"}, {"sandbox", "box00001"}, {"exec", "idle"},
                           {"usage", {{"wall_ms", 0}, {"cpu_ms", 1}, {"memory_peak_bytes", 0}, {"memory_mib_ms", 5}, {"disk_bytes", 0}, {"egress_bytes", 0},
                                      {"gpu_ms", 0}, {"cost", {{"amount", "0.000000000001"}, {"currency", "USD"}, {"price_book", "default@1"}}}}}};
    CHECK(body.at("rows").at(0) == expected);
    CHECK(body.at("rows").at(1).at("day") == "2026-01-31");
    CHECK_FALSE(body.at("rows").at(1).contains("sandbox"));
    CHECK(body.at("total").at("cpu_ms") == 3000);
    CHECK(body.at("total").at("cost").at("amount") == "0.00000123");
}

TEST_CASE("the question reaches the ledger as it was asked") {
    ResourceBench bench;
    (void)bench.ask("GET /v1/usage?from=2026-01-01T01:00:00.5+01:00&to=2026-01-02T00:00:00Z&group_by=day&limit=7&cursor=c1&sandbox=box00001");
    REQUIRE(bench.engine.questions.size() == 1);
    const ledger::UsageQuery& asked = bench.engine.questions[0];
    CHECK(to_rfc3339(asked.from) == "2026-01-01T00:00:00.500Z");
    CHECK(asked.to - asked.from == std::chrono::milliseconds{86'400'000 - 500});
    CHECK(asked.group_by == ledger::GroupBy::day);
    CHECK(asked.limit == 7);
    CHECK(asked.cursor == "c1");
    CHECK(asked.sandbox->str() == "box00001");
    CHECK(asked.tenant->str() == "dev");
}

TEST_CASE("without a period usage is that of the last thirty days") {
    ResourceBench bench;
    const WallTime before = system_clock().wall();
    (void)bench.ask("GET /v1/usage");
    const ledger::UsageQuery& asked = bench.engine.questions.at(0);
    CHECK(asked.to >= before);
    CHECK(asked.to <= system_clock().wall());
    CHECK(asked.to - asked.from == std::chrono::hours{30 * 24});
    CHECK(asked.group_by == ledger::GroupBy::tenant);
    CHECK(asked.cursor.empty());
}

TEST_CASE("the sandbox of another node or an earlier epoch can be asked for") {
    ResourceBench bench;
    const std::string id = generate_id(IdKind::sandbox, {9, 9, 9, 9});
    CHECK(bench.ask("GET /v1/usage?sandbox=" + id).status == 200);
    CHECK(bench.engine.questions.at(0).sandbox->str() == id);
}

TEST_CASE("only an admin sees other tenants, and all of them when none is named") {
    ResourceBench bench;
    CHECK(bench.ask("GET /v1/usage?tenant=dev").status == 200);
    CHECK(bench.engine.questions.at(0).tenant->str() == "dev");
    const Answer refused = bench.ask("GET /v1/usage?tenant=other");
    CHECK(refused.status == 403);
    CHECK(refused.code() == "forbidden");
    CHECK(bench.engine.questions.size() == 1);

    bench.caller.admin = true;
    CHECK(bench.ask("GET /v1/usage?tenant=other").status == 200);
    CHECK(bench.engine.questions.at(1).tenant->str() == "other");
    CHECK(bench.ask("GET /v1/usage").status == 200);
    CHECK_FALSE(bench.engine.questions.at(2).tenant.has_value());
}

TEST_CASE("a bad question about usage is refused by name") {
    ResourceBench bench;
    const std::map<std::string, std::string> cases{{"from=yesterday", "from"},
                                                   {"to=2026-01-01", "to"},
                                                   {"from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"},
                                                   {"to=2026-02-30T00:00:00Z", "to"},
                                                   {"group_by=planet", "group_by"},
                                                   {"limit=0", "limit"},
                                                   {"sandbox=NO", "sandbox"},
                                                   {"tenant=No!", "tenant"}};
    for (const auto& [query, field] : cases) {
        INFO(query);
        const Answer answer = bench.ask("GET /v1/usage?" + query);
        CHECK(answer.status == 400);
        CHECK(answer.code() == "invalid_argument");
        CHECK(answer.detail("field") == field);
    }
    CHECK(bench.engine.questions.empty());

    bench.engine.refusal = Error{Errc::invalid_argument, "cursor", "not one of this list"};
    const Answer answer = bench.ask("GET /v1/usage?cursor=zz");
    CHECK(answer.status == 400);
    CHECK(answer.detail("field") == "cursor");
    bench.engine.refusal = Error{Errc::disk_full, "ledger"};
    CHECK(bench.ask("GET /v1/usage?cursor=zz").status == 507);
}

TEST_CASE("templates are the node's") {
    ResourceBench bench;
    CHECK(bench.ask("GET /v1/templates").json() == json{{"templates", json::array({{{"name", "host"}}, {{"name", "python"}}})}});
    bench.engine.node_failure = Error{Errc::unavailable, "node"};
    CHECK(bench.ask("GET /v1/templates").status == 503);
}
