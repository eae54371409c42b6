#include "tests/unit/api/server_bench.hpp"

namespace sandboxd::api::testing {

namespace {

std::string upgrade(const std::string& path) {
    return request("GET " + path, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
}

// A client's frame, masked as RFC 6455 asks.
std::string frame(unsigned opcode, std::string_view payload) {
    std::string out;
    out += static_cast<char>(0x80 | opcode);
    if (payload.size() < 126) {
        out += static_cast<char>(0x80 | payload.size());
    } else {
        out += static_cast<char>(0x80 | 127);
        for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(payload.size() >> shift);
    }
    const std::string mask = "\x01\x02\x03\x04";
    out += mask;
    for (std::size_t i = 0; i < payload.size(); ++i) out += static_cast<char>(payload[i] ^ mask[i % 4]);
    return out;
}

struct Frame {
    unsigned opcode = 0;
    std::string payload;
};

Frame read_frame(Client& client) {
    const std::string head = client.read_exactly(2);
    Frame out;
    out.opcode = static_cast<unsigned char>(head[0]) & 15U;
    std::size_t size = static_cast<unsigned char>(head[1]) & 127U;
    const std::size_t more = size == 126 ? 2 : size == 127 ? 8 : 0;
    if (more != 0) {
        size = 0;
        for (const char c : client.read_exactly(more)) size = size << 8 | static_cast<unsigned char>(c);
    }
    out.payload = client.read_exactly(size);
    return out;
}

}  // namespace

TEST_CASE("a WebSocket carries text and binary messages both ways, and answers pings") {
    Bench bench;
    Client client = bench.client();
    const Answer accepted = client.ask(upgrade("/ws"));
    CHECK(accepted.status == 101);
    CHECK(accepted.field("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    CHECK(accepted.field("X-Request-Id"));
    client.send(frame(1, "hello"));
    const Frame text = read_frame(client);
    CHECK(text.opcode == 1);
    CHECK(text.payload == "hello");
    client.send(frame(9, "are you there"));
    CHECK(read_frame(client).opcode == 10);
    const std::string much(200'000, 'b');
    client.send(frame(2, much));
    const Frame binary = read_frame(client);
    CHECK(binary.opcode == 2);
    CHECK(binary.payload == '\xff' + much);
    client.send(frame(8, "\x03\xe8"));
    CHECK(read_frame(client).opcode == 8);
    CHECK(client.at_end());
    client.close();
    bench.stop();
    CHECK(shared().gone == 1);
}

TEST_CASE("the server's close carries its code and reason") {
    Bench bench;
    Client client = bench.client();
    CHECK(client.ask(upgrade("/ws")).status == 101);
    client.send(frame(1, "close"));
    const Frame closing = read_frame(client);
    CHECK(closing.opcode == 8);
    CHECK(closing.payload == std::string{"\x03\xf0"} + "as you wish");
}

TEST_CASE("a message that is too large ends the connection, and so does silence before a deadline") {
    Bench bench;
    Client client = bench.client();
    CHECK(client.ask(upgrade("/ws")).status == 101);
    client.send(frame(2, std::string((1 << 20) + 1, 'x')));
    CHECK(client.at_end());
    Client silent = bench.client();
    CHECK(silent.ask(upgrade("/ws-impatient")).status == 101);
    CHECK(silent.at_end());
    bench.stop();
    CHECK(shared().gone == 2);
}

TEST_CASE("a WebSocket path without an upgrade says what it wants") {
    Bench bench;
    Client client = bench.client();
    const Answer refused = client.ask(request("GET /ws"));
    CHECK(refused.status == 400);
    CHECK(refused.body.find("Upgrade: websocket") != std::string::npos);
    CHECK(client.ask("GET /ws HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").status == 401);
}

TEST_CASE("a client that vanishes ends the handler") {
    Bench bench;
    Client client = bench.client();
    CHECK(client.ask(upgrade("/ws")).status == 101);
    client.close();
    bench.stop();
    CHECK(shared().gone == 1);
}

}  // namespace sandboxd::api::testing
