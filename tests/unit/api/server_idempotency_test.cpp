#include "tests/unit/api/server_bench.hpp"

namespace sandboxd::api::testing {

namespace {
std::string keyed(const std::string& path, const std::string& key, const std::string& body, const std::string& more = "") {
    return request("POST " + path, "Idempotency-Key: " + key + "\r\n" + more, body);
}
}  // namespace

TEST_CASE("the same key and body give the same answer without the work done again") {
    Bench bench;
    Client client = bench.client();
    const Answer first = client.ask(keyed("/v1/echo", "k1", "a"));
    CHECK_FALSE(first.field("Idempotent-Replay"));
    const Answer again = client.ask(keyed("/v1/echo", "k1", "a"));
    CHECK(again.status == 200);
    CHECK(again.field("Idempotent-Replay") == "true");
    CHECK(again.body == first.body);
    CHECK(shared().served == 1);
    CHECK(client.ask(keyed("/v1/echo", "k1", "b")).code() == "conflict");
    CHECK(client.ask(keyed("/v1/echo?x=1", "k1", "a")).status == 409);
    CHECK(client.ask(keyed("/v1/echo", "k2", "a")).status == 200);
    CHECK(shared().served == 2);
}

TEST_CASE("a refusal that repeats itself is kept, one that may pass is not") {
    Bench bench;
    Client client = bench.client();
    CHECK(client.ask(keyed("/fail", "f", "{}")).status == 400);
    CHECK(client.ask(keyed("/fail", "f", "{}")).field("Idempotent-Replay") == "true");
}

TEST_CASE("a second request waits for the first one's answer") {
    Bench bench;
    Client first = bench.client();
    first.send(keyed("/held", "h", "{}"));
    while (shared().served == 0) std::this_thread::yield();
    Client second = bench.client();
    second.send(keyed("/held", "h", "{}"));
    Client other = bench.client();
    CHECK(other.ask(request("GET /v1/items/a")).status == 200);  // the second one is being served by now
    shared().release = true;
    CHECK(first.receive().status == 200);
    CHECK(second.receive().field("Idempotent-Replay") == "true");
    CHECK(shared().served == 1);
}

TEST_CASE("an answer too large to keep says so, and the key is free again") {
    Bench bench;
    Client client = bench.client();
    const Answer answer = client.ask(keyed("/large", "l", "{}"));
    CHECK(answer.body.size() == 3 << 20);
    CHECK(answer.field("Idempotency-Stored") == "false");
    CHECK(client.ask(keyed("/large", "l", "{}")).status == 200);
    CHECK(shared().served == 2);
}

TEST_CASE("a request whose client left is done again when it is repeated") {
    Bench bench;
    for (int i = 1; i <= 2; ++i) {
        Client client = bench.client();
        client.send(keyed("/leave", "gone", "{}"));
        client.shutdown_write();
        CHECK(client.receive().status == 499);
        CHECK(shared().gone == i);
    }
}

TEST_CASE("keys are short and printable, and not for streams") {
    Bench bench;
    Client client = bench.client();
    CHECK(client.ask(keyed("/v1/echo", std::string(256, 'k'), "a")).code() == "invalid_argument");
    CHECK(client.ask(keyed("/v1/echo", "s", "a", "Accept: text/event-stream\r\n")).code() == "invalid_argument");
    CHECK(shared().served == 0);
}

TEST_CASE("a request that was cut off by the end of the process is not done again") {
    Bench bench;
    Client client = bench.client();
    CHECK(client.ask(keyed("/v1/echo", "c", "a")).status == 200);
    client.close();
    bench.stop();
    for (auto& [key, record] : bench.engine().kept) record.status = 0;
    // The next process sees the claim and no answer.
    const auto holder = bench.engine().kept.begin()->second;
    Bench next;
    next.engine().kept.emplace(holder.tenant.str() + holder.key, holder);
    Client later = next.client();
    const Answer refused = later.ask(keyed("/v1/echo", "c", "a"));
    CHECK(refused.code() == "conflict");
    CHECK(shared().served == 0);
}

}  // namespace sandboxd::api::testing
