#include <catch2/catch.hpp>
#include <regex>

#include "api/process_figures.hpp"
#include "tests/unit/api/resource_bench.hpp"

using namespace sandboxd;
using namespace sandboxd::api;
using namespace sandboxd::api::testing;

namespace {

// "name{labels} value" of a metrics text; empty when there is no such row.
std::string value_of(const std::string& text, const std::string& series) {
    const std::string wanted = "\n" + series + " ";
    const auto at = ("\n" + text).find(wanted);
    if (at == std::string::npos) return {};
    const std::string rest = text.substr(at + wanted.size() - 1);
    return rest.substr(0, rest.find('\n'));
}

}  // namespace

TEST_CASE("health asks nobody") {
    ResourceBench bench;
    bench.engine.is_cordoned = true;
    bench.engine.node_failure = Error{Errc::unavailable, "node"};
    CHECK(bench.ask("GET /healthz").status == 200);
}

TEST_CASE("readiness says every reason why it is not") {
    ResourceBench bench;
    CHECK(bench.ask("GET /readyz").status == 200);
    bench.engine.is_cordoned = true;
    Answer answer = bench.ask("GET /readyz");
    CHECK(answer.status == 503);
    CHECK(answer.code() == "draining");
    CHECK(answer.detail("cordoned") == "true");
    CHECK(answer.detail("node") == "up");
    bench.engine.node_failure = Error{Errc::timeout, "status", "no word for 5 s"};
    answer = bench.ask("GET /readyz");
    CHECK(answer.status == 503);
    CHECK(answer.message().find("cordoned") != std::string::npos);
    CHECK(answer.message().find("no word for 5 s") != std::string::npos);
    bench.engine.is_cordoned = false;
    answer = bench.ask("GET /readyz");
    CHECK(answer.status == 503);
    CHECK(answer.code() == "unavailable");
    bench.engine.node_failure.reset();
    bench.engine.status.refusal = "these walls do not hold: io_uring";
    answer = bench.ask("GET /readyz");
    CHECK(answer.status == 503);
    CHECK(answer.code() == "unavailable");
    CHECK(answer.message().find("io_uring") != std::string::npos);
    CHECK(answer.detail("node") == "refusing");
    bench.engine.status.refusal.clear();
    CHECK(bench.ask("GET /readyz").status == 200);
}

TEST_CASE("an attestation is passed on as the node gave it") {
    ResourceBench bench;
    bench.engine.attestation = {R"({"nonce":"n"})", std::string(64, '\0'), "-----BEGIN PUBLIC KEY-----\n", "sha256:12"};
    const Answer answer = bench.ask("GET /v1/attest?nonce=n&fresh=true");
    REQUIRE(answer.status == 200);
    REQUIRE(bench.engine.attest_requests.size() == 1);
    CHECK(bench.engine.attest_requests[0].nonce == "n");
    CHECK(bench.engine.attest_requests[0].fresh);
    CHECK(answer.json()["payload"] == R"({"nonce":"n"})");
    CHECK(answer.json()["signature"] == std::string(85, 'A') + "A==");
    CHECK(answer.json()["algorithm"] == "Ed25519");
    CHECK(answer.json()["fingerprint"] == "sha256:12");
    CHECK(bench.ask("GET /v1/attest").status == 200);
    CHECK_FALSE(bench.engine.attest_requests[1].fresh);
    CHECK(bench.ask("GET /v1/attest?fresh=perhaps").status == 400);
}

TEST_CASE("metrics are lines of the exposition format and every name is explained once") {
    ResourceBench bench;
    bench.metrics.request("GET", "/v1/sandboxes/{id}", 200, 0.004);
    bench.engine.figures.refusals_total = {{"node_full", 3}, {"tenant_quota", 4}};
    const Answer answer = bench.ask("GET /metrics");
    CHECK(answer.status == 200);
    CHECK(answer.type == "text/plain; version=0.0.4; charset=utf-8");
    std::istringstream lines{answer.text};
    const std::regex row{R"(^[a-zA-Z_:][\w:]*(\{([a-z]+="[^"]*",?)*\})? [-+0-9.eEInf]+$)"};
    std::map<std::string, int> types;
    for (std::string line; std::getline(lines, line);) {
        INFO(line);
        if (line.starts_with("# TYPE ")) ++types[line.substr(7, line.find(' ', 7) - 7)];
        else if (!line.starts_with("# HELP ")) CHECK(std::regex_match(line, row));
    }
    for (const auto& [name, count] : types) {
        INFO(name);
        CHECK(count == 1);
    }
    CHECK(types.size() > 20);
    CHECK(value_of(answer.text, "sandboxd_refusals_total{reason=\"node_full\"}") == "3");
    CHECK(value_of(answer.text, "sandboxd_refusals_total{reason=\"tenant_quota\"}") == "4");
}

TEST_CASE("a request is counted under its route's pattern, method and status") {
    ResourceBench bench;
    bench.metrics.request("GET", "/v1/sandboxes/{id}", 200, 0.004);
    bench.metrics.request("GET", "/v1/sandboxes/{id}", 200, 0.3);
    bench.metrics.request("GET", "/v1/sandboxes/{id}", 404, 0.004);
    bench.metrics.request("BREW", "", 405, 0.001);
    bench.metrics.request("CAT", "", 405, 0.001);
    const std::string text = bench.ask("GET /metrics").text;
    CHECK(value_of(text, R"(sandboxd_http_requests_total{method="GET",route="/v1/sandboxes/{id}",status="200"})") == "2");
    CHECK(value_of(text, R"(sandboxd_http_requests_total{method="GET",route="/v1/sandboxes/{id}",status="404"})") == "1");
    CHECK(value_of(text, R"(sandboxd_http_requests_total{method="other",route="none",status="405"})") == "2");
    CHECK(text.find("BREW") == std::string::npos);
    CHECK(value_of(text, R"(sandboxd_http_request_seconds_bucket{method="GET",route="/v1/sandboxes/{id}",le="0.005"})") == "2");
    CHECK(value_of(text, R"(sandboxd_http_request_seconds_count{method="GET",route="/v1/sandboxes/{id}"})") == "3");
}

TEST_CASE("connections are counted while they are open") {
    ResourceBench bench;
    bench.metrics.connection_opened();
    bench.metrics.connection_opened();
    bench.metrics.connection_closed();
    bench.metrics.connection_refused();
    const std::string text = bench.ask("GET /metrics").text;
    CHECK(value_of(text, "sandboxd_http_connections") == "1");
    CHECK(value_of(text, "sandboxd_http_connections_total") == "2");
    CHECK(value_of(text, "sandboxd_http_connections_refused_total") == "1");
}

TEST_CASE("each create is in the histogram once, however often it is read") {
    ResourceBench bench;
    bench.engine.figures.create_seconds = {0.004, 0.012, 100};
    (void)bench.ask("GET /metrics");
    bench.engine.figures.create_seconds = {0.012};
    const std::string text = bench.ask("GET /metrics").text;
    CHECK(value_of(text, "sandboxd_sandbox_create_seconds_count") == "4");
    CHECK(value_of(text, R"(sandboxd_sandbox_create_seconds_bucket{le="0.005"})") == "1");
    CHECK(value_of(text, R"(sandboxd_sandbox_create_seconds_bucket{le="0.015"})") == "3");
    CHECK(value_of(text, R"(sandboxd_sandbox_create_seconds_bucket{le="+Inf"})") == "4");
}

TEST_CASE("figures of the engine and the node are those of this moment") {
    ResourceBench bench;
    bench.engine.figures.sandboxes = 5;
    bench.engine.figures.spool_bytes = 1ULL << 40;
    bench.engine.figures.ledger_rows_total = 7;
    bench.engine.status.pool_kind = "btrfs_qgroup";
    bench.engine.status.pool_free_bytes = 9;
    std::string text = bench.ask("GET /metrics").text;
    CHECK(value_of(text, "sandboxd_sandboxes") == "5");
    CHECK(std::stod(value_of(text, "sandboxd_spool_bytes")) == double(1ULL << 40));
    CHECK(value_of(text, "sandboxd_ledger_rows_total") == "7");
    CHECK(value_of(text, "sandboxd_node_pool_free_bytes{kind=\"btrfs_qgroup\"}") == "9");
    CHECK(value_of(text, "sandboxd_ready") == "1");
    CHECK(value_of(text, "sandboxd_node_up") == "1");

    bench.engine.node_failure = Error{Errc::unavailable, "node"};
    text = bench.ask("GET /metrics").text;
    CHECK(value_of(text, "sandboxd_sandboxes") == "0");
    CHECK(value_of(text, "sandboxd_ready") == "0");
    CHECK(value_of(text, "sandboxd_node_up") == "0");
    CHECK(text.find("sandboxd_node_pool") == std::string::npos);  // not known is not the last that was known
}

TEST_CASE("metrics name no tenant and no sandbox") {
    ResourceBench bench;
    bench.engine.add("box00001");
    (void)bench.ask("GET /v1/sandboxes/box00001");
    const std::string text = bench.ask("GET /metrics").text;
    CHECK(text.find("box00001") == std::string::npos);
    CHECK(text.find("dev\"") == std::string::npos);
}

TEST_CASE("the process knows its own figures") {
    const ProcessFigures figures = process_figures();
    REQUIRE(figures.resident_bytes);
    CHECK(*figures.resident_bytes > 1U << 20);
    CHECK(*figures.resident_bytes < 1ULL << 34);
    REQUIRE(figures.open_fds);
    CHECK(*figures.open_fds >= 3);
    REQUIRE(figures.max_fds);
    CHECK(*figures.max_fds >= *figures.open_fds);
    REQUIRE(figures.cpu_seconds);
    CHECK(*figures.cpu_seconds < 3600);
    REQUIRE(figures.start_unix_seconds);
    const double now = std::chrono::duration<double>(system_clock().wall().time_since_epoch()).count();
    CHECK(*figures.start_unix_seconds == Approx(now).margin(3600));
    CHECK(*figures.start_unix_seconds <= now + 2);  // the kernel rounds the time of boot to a second
}
