#include <sys/socket.h>

#include "tests/unit/api/server_bench.hpp"

namespace sandboxd::api::testing {

TEST_CASE("a connection carries one request after the other, also pipelined ones, in order") {
    Bench bench;
    Client client = bench.client();
    for (int i = 0; i < 3; ++i) {
        const Answer answer = client.ask(request("POST /v1/echo", "", "body " + std::to_string(i)));
        CHECK(answer.status == 200);
        CHECK(answer.json().at("body") == "body " + std::to_string(i));
        CHECK(answer.field("X-Request-Id"));
        CHECK(answer.field("Date"));
    }
    client.send(request("POST /v1/echo", "", "one") + request("POST /v1/echo", "", "two") + request("GET /v1/items/a"));
    CHECK(client.receive().json().at("body") == "one");
    CHECK(client.receive().json().at("body") == "two");
    CHECK(client.receive().json().at("id") == "a");
}

TEST_CASE("a request that comes byte by byte is one request") {
    Bench bench;
    Client client = bench.client();
    for (const char c : request("POST /v1/echo", "", "slowly")) client.send(std::string_view{&c, 1});
    CHECK(client.receive().json().at("body") == "slowly");
}

TEST_CASE("bodies come by length or in chunks, and 100-continue is asked for when the body is wanted") {
    Bench bench;
    Client client = bench.client();
    const std::string chunked = "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    CHECK(client.ask(request("POST /v1/echo", "Transfer-Encoding: chunked\r\n") + chunked).json().at("body") == "hello world");
    client.send(request("PUT /upload", "Expect: 100-continue\r\nContent-Length: 4\r\n"));
    CHECK(client.receive().status == 100);
    CHECK(client.ask("abcd").json().at("bytes") == 4);
    const std::string much(8 << 20, 'z');
    CHECK(client.ask(request("PUT /upload", "", much)).json().at("bytes") == much.size());
    CHECK(client.ask(request("PUT /upload", "Content-Length: 0\r\n")).json().at("bytes") == 0);
}

TEST_CASE("answers are streamed in chunks, and HTTP/1.0 gets them until the connection ends") {
    Bench bench;
    Client client = bench.client();
    const Answer answer = client.ask(request("GET /stream"));
    CHECK(answer.field("Transfer-Encoding") == "chunked");
    CHECK(answer.body == "piece 0\npiece 1\npiece 2\n");
    CHECK(client.ask(request("GET /v1/items/next")).status == 200);

    Client old = bench.client();
    const Answer until_end = old.ask("GET /stream HTTP/1.0\r\nX-API-KEY: sbx_test\r\n\r\n");
    CHECK_FALSE(until_end.field("Transfer-Encoding"));
    CHECK(until_end.body == "piece 0\npiece 1\npiece 2\n");
}

TEST_CASE("HEAD has GET's header and no body; 204 has neither body nor length") {
    Bench bench;
    Client client = bench.client();
    client.send(request("HEAD /v1/items/abc"));
    const Answer head = client.receive(true);
    CHECK(head.status == 200);
    CHECK(head.field("Content-Length") == "12");
    const Answer nothing = client.ask(request("GET /v1/items/first"));
    CHECK(nothing.status == 204);
    CHECK_FALSE(nothing.field("Content-Length"));
    CHECK(client.ask(request("GET /v1/items/b")).status == 200);
}

TEST_CASE("errors are JSON with a code, a message and the facts, and background work is done") {
    Bench bench;
    Client client = bench.client();
    const Answer failed = client.ask(request("POST /fail", "X-Request-Id: my-id.1\r\n"));
    CHECK(failed.status == 400);
    CHECK(failed.code() == "limit_exceeded");
    CHECK(failed.json()["error"]["details"]["allowed"] == 4096);
    CHECK(failed.field("X-Request-Id") == "my-id.1");
    CHECK(client.ask(request("GET /nowhere")).code() == "not_found");
    const Answer wrong = client.ask(request("DELETE /v1/echo"));
    CHECK(wrong.status == 405);
    CHECK(wrong.field("Allow") == "POST, GET");
    const Answer thrown = client.ask(request("GET /throw"));
    CHECK(thrown.status == 500);
    CHECK(thrown.body.find("secret") == std::string::npos);
    CHECK(client.ask(request("GET /no-answer")).status == 500);
    client.close();
    bench.stop();
    CHECK(shared().tidied == 1);
}

TEST_CASE("a handler's field can't end its line, and a client's request id is checked") {
    Bench bench;
    Client client = bench.client();
    const Answer answer = client.ask(request("GET /bad-field"));
    CHECK_FALSE(answer.field("X-Evil"));
    CHECK(answer.field("X-Name") == "a  X-Evil: 1");
    const Answer renamed = client.ask(request("GET /v1/items/a", "X-Request-Id: no spaces here\r\n"));
    CHECK(renamed.field("X-Request-Id") != "no spaces here");
}

TEST_CASE("keys: bearer or X-API-KEY; without, wrong or for administrators only is refused") {
    Bench bench;
    Client client = bench.client();
    const Answer none = client.ask("GET /v1/items/a HTTP/1.1\r\nHost: t\r\n\r\n");
    CHECK(none.status == 401);
    CHECK(none.field("WWW-Authenticate"));
    CHECK(client.ask("GET /v1/items/a HTTP/1.1\r\nHost: t\r\nX-API-KEY: sbx_test\r\n\r\n").status == 200);
    CHECK(client.ask("GET /v1/items/a HTTP/1.1\r\nHost: t\r\nX-API-KEY: sbx_tesT\r\n\r\n").status == 401);
    CHECK(client.ask("GET /v1/items/a HTTP/1.1\r\nHost: t\r\nAuthorization: Basic sbx_test\r\n\r\n").status == 401);
    CHECK(client.ask("GET /open HTTP/1.1\r\nHost: t\r\n\r\n").status == 200);
    CHECK(client.ask(request("GET /admin")).status == 403);
}

TEST_CASE("root on the Unix socket needs no key and is an administrator; a key that is given counts") {
    if (::geteuid() != 0) return;
    Bench bench;
    Client client{bench.unix_path()};
    const Answer admin = client.ask("GET /admin HTTP/1.1\r\nHost: t\r\n\r\n");
    CHECK(admin.status == 200);
    CHECK(admin.json().at("tenant") == "dev");
    const Answer other = client.ask("GET /admin HTTP/1.1\r\nHost: t\r\nX-Sandboxd-Tenant: acme\r\n\r\n");
    CHECK(other.json().at("tenant") == "acme");
    CHECK(client.ask(request("GET /admin")).status == 403);
    CHECK(client.ask("GET /admin HTTP/1.1\r\nHost: t\r\nX-API-KEY: wrong\r\n\r\n").status == 401);
}

TEST_CASE("query parameters are decoded, known, single and in range") {
    Bench bench;
    Client client = bench.client();
    CHECK(client.ask(request("GET /v1/echo?x=7&metadata.job=a%20b")).json().at("x") == "7");
    CHECK(client.ask(request("GET /v1/echo?x=11")).code() == "invalid_argument");
    CHECK(client.ask(request("GET /v1/echo?x=1&x=2")).status == 400);
    CHECK(client.ask(request("GET /v1/echo?y=1")).json()["error"]["details"]["field"] == "y");
    CHECK(client.ask(request("GET /v1/echo?x=%zz")).status == 400);
}

TEST_CASE("what two readers could read in two ways is refused and ends the connection") {
    Bench bench;
    const auto refused = [&](const std::string& text) {
        Client client = bench.client();
        const Answer answer = client.ask(text);
        CHECK(answer.status == 400);
        CHECK(answer.code() == "invalid_argument");
    };
    refused(request("POST /v1/echo", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n");
    refused(request("POST /v1/echo", "Content-Length: 3\r\nContent-Length: 4\r\n") + "abcd");
    refused(request("POST /v1/echo", "Content-Length: -1\r\n"));
    refused(request("POST /v1/echo", "Transfer-Encoding: gzip\r\n"));
    refused(request("POST /v1/echo", "Transfer-Encoding: chunked, chunked\r\n") + "0\r\n\r\n");
    refused("GET /v1/items/a HTTP/1.1\r\nX-API-KEY: sbx_test\r\n\r\n");
    refused(request("GET /v1/items/a", "Host: other\r\n"));
    refused(request("GET /v1/items/..%2f..%2fx"));
    refused(request("GET /v1/items/../x"));
    refused(request("GET /v1/items/%2e%2e"));
    refused(request("GET /v1//items"));
    refused(request("GET /v1/items/a%00b"));
    refused("GET /v1/items/a HTTP/1.1\r\nHost : x\r\n\r\n");
    refused("NOT HTTP\r\n\r\n");
}

TEST_CASE("a body that nobody read ends the connection after the answer, which arrives") {
    Bench bench;
    Client client = bench.client();
    client.send(request("PUT /ignored", "Content-Length: 100000\r\n"));
    const Answer answer = client.receive();
    CHECK(answer.status == 204);
    CHECK(answer.field("Connection") == "close");
    client.send(std::string(100000, 'x'));
    CHECK(client.at_end());
}

TEST_CASE("a handler learns that its client has gone: closed, or closed for writing") {
    Bench bench;
    {
        Client client = bench.client();
        client.send(request("GET /leave"));
        client.close();
        Client half = bench.client();
        half.send(request("GET /leave"));
        half.shutdown_write();
        CHECK(half.at_end());
    }
    Client pipelining = bench.client();
    pipelining.send(request("GET /leave") + request("GET /v1/items/a"));
    pipelining.close();
    const Deadline deadline = Deadline::after(std::chrono::seconds{10});
    while (shared().gone < 3 && !deadline.passed()) std::this_thread::yield();
    CHECK(shared().gone == 3);
}

}  // namespace sandboxd::api::testing
