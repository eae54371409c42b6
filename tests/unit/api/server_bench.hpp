#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

#include "api/server.hpp"
#include "tests/unit/api/exec_fake_engine.hpp"

// A real server on a loopback port, on a thread of its own, and clients that speak bytes.
namespace sandboxd::api::testing {

// Remembers idempotent answers as the ledger does.
class ServerEngine : public FakeExecEngine {
public:
    using FakeExecEngine::FakeExecEngine;
    asio::awaitable<Result<std::optional<ledger::IdempotencyRecord>>> claim_idempotency(ledger::IdempotencyRecord record) override;
    asio::awaitable<Result<void>> finish_idempotency(ledger::IdempotencyRecord record) override;
    asio::awaitable<Result<void>> drop_idempotency(TenantId tenant, std::string key) override;
    std::map<std::string, ledger::IdempotencyRecord> kept;
};

struct Answer {
    int status = 0;
    std::string head;  // header fields, each on its line
    std::string body;  // decoded when chunked

    std::optional<std::string> field(const std::string& name) const;
    nlohmann::json json() const { return nlohmann::json::parse(body); }
    std::string code() const { return json().at("error").at("code"); }
};

// One connection. Every wait ends after some seconds in a failed test.
class Client {
public:
    explicit Client(std::uint16_t port);
    explicit Client(const std::string& unix_path);

    void send(std::string_view bytes);
    Answer receive(bool head_only = false);      // one answer
    Answer ask(std::string_view request);        // send, receive
    std::string read_some();                     // "" at the end
    std::string read_exactly(std::size_t size);
    bool at_end();                               // waits for the server to close
    void shutdown_write();
    void close() { socket_.reset(); }
    int fd() const { return socket_.get(); }

private:
    bool fill();
    Fd socket_;
    std::string buffer_;
};

class Bench {
public:
    explicit Bench(ServerConfig config = quick(), std::optional<TlsFiles> tls = {});
    ~Bench();

    static ServerConfig quick();  // time limits that a test can wait for
    std::uint16_t port() const { return port_; }
    const std::string& unix_path() const { return unix_path_; }
    Client client() const { return Client{port_}; }
    ServerEngine& engine() { return *engine_; }  // look at it after stop() only
    void stop(Deadline deadline = Deadline::after(std::chrono::seconds{5}));
    void stop_in_background(Deadline deadline);
    void watch_settled(Deadline deadline, std::atomic<bool>& settled);

private:
    asio::io_context context_{1};
    std::unique_ptr<ServerEngine> engine_;
    Metrics metrics_;
    std::unique_ptr<Server> server_;
    std::uint16_t port_ = 0;
    std::string folder_;
    std::string unix_path_;
    std::thread thread_;
    bool stopping_ = false;
};

// "GET /path", with the key and what else is given.
std::string request(const std::string& line, const std::string& fields = "", const std::string& body = "");

// Shared with the handlers of the bench's routes, which run on the server's thread.
struct Shared {
    std::atomic<int> served{0};
    std::atomic<int> gone{0};
    std::atomic<int> tidied{0};
    std::atomic<bool> release{false};
};
Shared& shared();

}  // namespace sandboxd::api::testing
