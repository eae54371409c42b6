#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "tests/unit/api/server_bench.hpp"

namespace sandboxd::api::testing {

namespace {

using namespace std::chrono_literals;

std::string pem(const std::function<void(BIO*)>& write) {
    const std::unique_ptr<BIO, decltype(&::BIO_free)> bio{::BIO_new(::BIO_s_mem()), ::BIO_free};
    write(bio.get());
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

TlsFiles self_signed() {
    const std::unique_ptr<EVP_PKEY, decltype(&::EVP_PKEY_free)> key{EVP_EC_gen("P-256"), ::EVP_PKEY_free};
    const std::unique_ptr<X509, decltype(&::X509_free)> certificate{::X509_new(), ::X509_free};
    ::ASN1_INTEGER_set(::X509_get_serialNumber(certificate.get()), 1);
    ::X509_gmtime_adj(::X509_getm_notBefore(certificate.get()), 0);
    ::X509_gmtime_adj(::X509_getm_notAfter(certificate.get()), 3600);
    ::X509_set_pubkey(certificate.get(), key.get());
    ::X509_sign(certificate.get(), key.get(), ::EVP_sha256());
    TlsFiles files;
    files.certificate = pem([&](BIO* bio) { ::PEM_write_bio_X509(bio, certificate.get()); });
    files.key = pem([&](BIO* bio) { ::PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
    return files;
}

}  // namespace

TEST_CASE("a header that is too large, or has too many fields, is refused") {
    Bench bench;
    Client client = bench.client();
    CHECK(client.ask(request("GET /v1/items/a", "X-Long: " + std::string(20'000, 'x') + "\r\n")).status == 431);
    std::string many;
    for (int i = 0; i < 70; ++i) many += "X-F" + std::to_string(i) + ": 1\r\n";
    Client other = bench.client();
    CHECK(other.ask(request("GET /v1/items/a", many)).status == 431);
}

TEST_CASE("a body above the limit is refused, announced or not; uploads have none") {
    Bench bench;
    Client client = bench.client();
    const Answer announced = client.ask(request("POST /v1/echo", "Content-Length: 1048577\r\n"));
    CHECK(announced.status == 413);
    CHECK(announced.json()["error"]["details"]["allowed"] == 1 << 20);
    Client chunking = bench.client();
    std::string text = request("POST /v1/echo", "Transfer-Encoding: chunked\r\n");
    for (int i = 0; i < 5; ++i) text += "40000\r\n" + std::string(0x40000, 'x') + "\r\n";
    CHECK(chunking.ask(text).status == 413);
    Client exact = bench.client();
    CHECK(exact.ask(request("POST /v1/echo", "", std::string(1 << 20, 'x'))).status == 200);
}

TEST_CASE("bodies that are held at one time have a limit together, and give their share back") {
    ServerConfig config = Bench::quick();
    config.bodies_bytes_max = 1'000'000;
    Bench bench{config};
    const auto ask = [&] { return bench.client().ask(request("POST /v1/echo", "", std::string(300'000, 'y'))).status; };
    CHECK(ask() == 200);
    Client held = bench.client();
    held.send(request("POST /held", "", std::string(800'000, 'x')));
    while (shared().served == 1) std::this_thread::yield();  // until its body is there
    CHECK(ask() == 503);
    shared().release = true;
    CHECK(held.receive().status == 200);
    CHECK(ask() == 200);
}

TEST_CASE("silence is not waited for: idle, in a header, in a body") {
    ServerConfig config = Bench::quick();
    config.idle = 50ms;
    config.header = 50ms;
    config.progress = 50ms;
    Bench bench{config};
    CHECK(bench.client().at_end());
    Client header = bench.client();
    header.send("GET /v1/items/a HTTP/1.1\r\nHost");
    CHECK(header.at_end());
    Client body = bench.client();
    body.send(request("POST /v1/echo", "Content-Length: 10\r\n") + "abc");
    CHECK(body.at_end());
}

TEST_CASE("a client that does not read is let go") {
    ServerConfig config = Bench::quick();
    config.progress = 100ms;
    Bench bench{config};
    Client client = bench.client();
    client.send(request("GET /flood"));
    std::string first = client.read_some();
    CHECK_FALSE(first.empty());
    // The server has ended the stream when a new connection is the only one that is left to stop.
    Client waiting = bench.client();
    CHECK(waiting.ask(request("GET /v1/items/a")).status == 200);
    waiting.close();
    bench.stop(Deadline::never());
    SUCCEED();
}

TEST_CASE("connections beyond the limit are told so") {
    ServerConfig config = Bench::quick();
    config.connections_max = 2;
    Bench bench{config};
    Client one = bench.client();
    Client two = bench.client();
    CHECK(one.ask(request("GET /v1/items/a")).status == 200);
    CHECK(two.ask(request("GET /v1/items/a")).status == 200);
    Client three = bench.client();
    const Answer refused = three.receive();
    CHECK(refused.status == 503);
    CHECK(refused.field("Retry-After"));
    CHECK(refused.code() == "unavailable");
    CHECK(one.ask(request("GET /v1/items/a")).status == 200);
}

TEST_CASE("a stop ends idle connections, lets requests end, and cuts off what takes too long") {
    Bench bench;
    Client idle = bench.client();
    CHECK(idle.ask(request("GET /v1/items/a")).status == 200);
    Client held = bench.client();
    held.send(request("POST /held", "", "{}"));
    while (shared().served == 0) std::this_thread::yield();
    bench.stop_in_background(Deadline::after(10s));
    CHECK(idle.at_end());
    shared().release = true;
    const Answer answer = held.receive();
    CHECK(answer.status == 200);
    bench.stop();

    Bench stuck;
    Client never = stuck.client();
    never.send(request("POST /held", "", "{}"));
    while (shared().served == 0) std::this_thread::yield();
    stuck.stop(Deadline::after(20ms));
    CHECK(never.at_end());
}

TEST_CASE("the server is settled when no request is left whose answer would be lost; a GET is none") {
    Bench bench;
    Client following = bench.client();
    following.send(request("GET /leave"));
    Client held = bench.client();
    held.send(request("POST /held", "", "{}"));
    while (shared().served == 0) std::this_thread::yield();
    std::atomic<bool> late{false};
    bench.watch_settled(Deadline::after(20ms), late);
    while (!late) std::this_thread::yield();  // at its deadline, although the request goes on
    std::atomic<bool> settled{false};
    bench.watch_settled(Deadline::never(), settled);
    Client other = bench.client();
    CHECK(other.ask(request("GET /v1/items/a")).status == 200);
    CHECK_FALSE(settled);
    shared().release = true;
    CHECK(held.receive().status == 200);
    while (!settled) std::this_thread::yield();
    CHECK(shared().gone == 0);  // the GET is still there
    following.close();
}

TEST_CASE("TLS is spoken on TCP when there is a certificate, and a wrong key is found at once") {
    const TlsFiles files = self_signed();
    Bench bench{Bench::quick(), files};
    Client plain = bench.client();
    plain.send(request("GET /v1/items/a"));
    CHECK(plain.at_end());

    const std::unique_ptr<SSL_CTX, decltype(&::SSL_CTX_free)> context{::SSL_CTX_new(::TLS_client_method()), ::SSL_CTX_free};
    Client client = bench.client();
    {
        const std::unique_ptr<SSL, decltype(&::SSL_free)> tls{::SSL_new(context.get()), ::SSL_free};
        ::SSL_set_fd(tls.get(), client.fd());
        REQUIRE(::SSL_connect(tls.get()) == 1);
        for (int i = 0; i < 2; ++i) {
            const std::string text = request("POST /v1/echo", "", std::string(100'000, 'q'));
            REQUIRE(::SSL_write(tls.get(), text.data(), static_cast<int>(text.size())) == static_cast<int>(text.size()));
            std::string got;
            while (got.find("\"tenant\"") == got.npos) {
                std::array<char, 16384> space;
                const int size = ::SSL_read(tls.get(), space.data(), static_cast<int>(space.size()));
                REQUIRE(size > 0);
                got.append(space.data(), static_cast<std::size_t>(size));
            }
            CHECK(got.starts_with("HTTP/1.1 200"));
        }
        ::SSL_shutdown(tls.get());
    }
    const TlsFiles other = self_signed();
    asio::io_context context2;
    FakeExecEngine engine{context2.get_executor()};
    Metrics metrics;
    const auto refused = Server::make(context2.get_executor(), Bench::quick(), {}, engine, metrics, {}, TlsFiles{files.certificate, other.key});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().find("tls_key") != std::string::npos);
}

}  // namespace sandboxd::api::testing
