#include "tests/unit/api/server_bench.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <cstdlib>
#include <future>

#include "api/errors.hpp"
#include "api/json.hpp"

namespace sandboxd::api::testing {

namespace {

constexpr int kPatienceMs = 10'000;

// ---- routes ----

asio::awaitable<Result<void>> echo(Exchange& exchange) {
    SBX_CO_TRY(const std::string body, co_await exchange.body());
    ++shared().served;
    nlohmann::json answer = {{"method", exchange.method()}, {"path", exchange.path()}, {"body", body},
                             {"tenant", exchange.caller().tenant.str()}, {"admin", exchange.caller().admin}};
    if (const auto x = exchange.query("x")) answer["x"] = *x;
    if (const auto field = exchange.header("X-Test")) answer["field"] = *field;
    Response response = json_response(200, answer);
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> item(Exchange& exchange) {
    nlohmann::json answer = {{"id", exchange.param("id")}};
    Response response = json_response(200, answer);
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> count_upload(Exchange& exchange) {
    std::vector<std::byte> buffer(64 * 1024);
    std::uint64_t total = 0;
    while (true) {
        SBX_CO_TRY(const std::size_t got, co_await exchange.read_body(buffer));
        if (got == 0) break;
        total += got;
    }
    nlohmann::json answer = {{"bytes", total}};
    Response response = json_response(200, answer);
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> stream(Exchange& exchange) {
    Response head;
    head.content_type = "text/plain";
    SBX_CO_CHECK(co_await exchange.begin(std::move(head), std::nullopt));
    for (int i = 0; i < 3; ++i) {
        const std::string piece = "piece " + std::to_string(i) + "\n";
        SBX_CO_CHECK(co_await exchange.write(std::as_bytes(std::span{piece})));
    }
    co_return co_await exchange.finish();
}

asio::awaitable<Result<void>> flood(Exchange& exchange) {
    Response head;
    SBX_CO_CHECK(co_await exchange.begin(std::move(head), std::nullopt));
    const std::vector<std::byte> block(256 * 1024);
    while (true) SBX_CO_CHECK(co_await exchange.write(block));
}

asio::awaitable<Result<void>> wait_for_leave(Exchange& exchange) {
    co_await exchange.client_gone();
    ++shared().gone;
    co_return Error{Errc::canceled, "test"};
}

asio::awaitable<void> tidy() {
    ++shared().tidied;
    co_return;
}

asio::awaitable<Result<void>> fail(Exchange& exchange) {
    exchange.background("tidy", tidy());
    co_return Error{Errc::limit_exceeded, "memory_mb", "too much"}.fact("limit", "memory_mb").fact("asked", 9000).fact("allowed", 4096);
}

asio::awaitable<Result<void>> no_answer(Exchange&) { co_return Result<void>{}; }

asio::awaitable<Result<void>> throw_up(Exchange&) {
    throw std::runtime_error{"a secret detail"};
    co_return Result<void>{};
}

asio::awaitable<Result<void>> until_released(Exchange& exchange) {
    SBX_CO_CHECK(co_await exchange.body());
    ++shared().served;
    while (!shared().release) SBX_CO_CHECK(co_await sleep_until(Deadline::after(std::chrono::milliseconds{2})));
    Response response = json_response(200, nlohmann::json::object());
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> large(Exchange& exchange) {
    ++shared().served;
    Response response;
    response.body.assign(3 << 20, 'x');
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> nothing(Exchange& exchange) {
    Response response;
    response.status = 204;
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> bad_field(Exchange& exchange) {
    Response response = json_response(200, nlohmann::json::object());
    response.headers.emplace_back("X-Name", "a\r\nX-Evil: 1");
    co_return co_await exchange.respond(std::move(response));
}

asio::awaitable<Result<void>> socket_echo(Exchange& exchange) {
    SBX_CO_TRY(const std::unique_ptr<WebSocket> socket, co_await exchange.upgrade());
    while (true) {
        auto message = co_await socket->read(Deadline::after(std::chrono::seconds{5}));
        if (!message) break;
        if (message->data == "close") {
            co_await socket->close(1008, "as you wish");
            break;
        }
        if (message->binary) {
            const std::byte head{0xff};
            SBX_CO_CHECK(co_await socket->send_binary(std::span{&head, 1}, std::as_bytes(std::span{message->data})));
        } else {
            SBX_CO_CHECK(co_await socket->send_text(std::move(message->data)));
        }
    }
    ++shared().gone;
    co_return Result<void>{};
}

asio::awaitable<Result<void>> socket_impatient(Exchange& exchange) {
    SBX_CO_TRY(const std::unique_ptr<WebSocket> socket, co_await exchange.upgrade());
    auto message = co_await socket->read(Deadline::after(std::chrono::milliseconds{50}));
    if (!message && message.error().is(Errc::timeout)) ++shared().gone;
    co_return Result<void>{};
}

constexpr std::array kEchoQuery{
    Field{.name = "x", .type = Type::integer, .description = "a number", .min = 1, .max = 10},
    Field{.name = "metadata.*", .description = "pairs"},
};

constexpr std::array kRoutes{
    Route{.method = "POST", .pattern = "/v1/echo", .handler = echo, .query = kEchoQuery},
    Route{.method = "GET", .pattern = "/v1/echo", .handler = echo, .query = kEchoQuery},
    Route{.method = "GET", .pattern = "/open", .handler = echo, .auth = Auth::none},
    Route{.method = "GET", .pattern = "/admin", .handler = echo, .auth = Auth::admin},
    Route{.method = "GET", .pattern = "/v1/items/{id}", .handler = item},
    Route{.method = "GET", .pattern = "/v1/items/first", .handler = nothing},
    Route{.method = "PUT", .pattern = "/upload", .handler = count_upload, .streams_body = true},
    Route{.method = "PUT", .pattern = "/ignored", .handler = nothing, .streams_body = true},
    Route{.method = "GET", .pattern = "/stream", .handler = stream},
    Route{.method = "GET", .pattern = "/flood", .handler = flood},
    Route{.method = "GET", .pattern = "/leave", .handler = wait_for_leave},
    Route{.method = "POST", .pattern = "/leave", .handler = wait_for_leave},
    Route{.method = "POST", .pattern = "/fail", .handler = fail},
    Route{.method = "GET", .pattern = "/no-answer", .handler = no_answer},
    Route{.method = "GET", .pattern = "/throw", .handler = throw_up},
    Route{.method = "POST", .pattern = "/held", .handler = until_released},
    Route{.method = "POST", .pattern = "/large", .handler = large},
    Route{.method = "GET", .pattern = "/bad-field", .handler = bad_field},
    Route{.method = "GET", .pattern = "/ws", .handler = socket_echo, .success = 101},
    Route{.method = "GET", .pattern = "/ws-impatient", .handler = socket_impatient, .success = 101},
};

Fd listen_tcp(std::uint16_t& port) {
    Fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(fd.get(), 64) == 0);
    socklen_t size = sizeof address;
    REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port = ntohs(address.sin_port);
    return fd;
}

sockaddr_un unix_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    return address;
}

Fd listen_unix(const std::string& path) {
    Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    const sockaddr_un address = unix_address(path);
    REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(fd.get(), 64) == 0);
    return fd;
}

std::string decode_chunks(std::string_view text, bool& complete) {
    std::string out;
    complete = false;
    while (true) {
        const auto end = text.find("\r\n");
        if (end == text.npos) return out;
        const std::size_t size = std::stoul(std::string{text.substr(0, end)}, nullptr, 16);
        text.remove_prefix(end + 2);
        if (text.size() < size + 2) return out;
        out += text.substr(0, size);
        text.remove_prefix(size + 2);
        if (size == 0) {
            complete = true;
            return out;
        }
    }
}

}  // namespace

Shared& shared() {
    static Shared value;
    return value;
}

asio::awaitable<Result<std::optional<ledger::IdempotencyRecord>>> ServerEngine::claim_idempotency(ledger::IdempotencyRecord record) {
    const std::string key = record.tenant.str() + record.key;
    if (const auto known = kept.find(key); known != kept.end()) co_return std::optional{known->second};
    kept.emplace(key, std::move(record));
    co_return std::optional<ledger::IdempotencyRecord>{};
}

asio::awaitable<Result<void>> ServerEngine::finish_idempotency(ledger::IdempotencyRecord record) {
    const std::string key = record.tenant.str() + record.key;
    kept[key] = std::move(record);
    co_return Result<void>{};
}

asio::awaitable<Result<void>> ServerEngine::drop_idempotency(TenantId tenant, std::string key) {
    kept.erase(tenant.str() + key);
    co_return Result<void>{};
}

std::optional<std::string> Answer::field(const std::string& name) const {
    const auto at = head.find("\r\n" + name + ": ");
    if (at == head.npos) return std::nullopt;
    const auto begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
}

Client::Client(std::uint16_t port) : socket_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
}

Client::Client(const std::string& unix_path) : socket_{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)} {
    const sockaddr_un address = unix_address(unix_path);
    REQUIRE(::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
}

void Client::send(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent <= 0) return;  // the server has closed: what it said before is still to be read
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
}

bool Client::fill() {
    pollfd entry{socket_.get(), POLLIN, 0};
    if (::poll(&entry, 1, kPatienceMs) != 1) FAIL("the server said nothing");
    std::array<char, 65536> space;
    const ssize_t size = ::recv(socket_.get(), space.data(), space.size(), 0);
    if (size <= 0) return false;
    buffer_.append(space.data(), static_cast<std::size_t>(size));
    return true;
}

Answer Client::receive(bool head_only) {
    while (buffer_.find("\r\n\r\n") == buffer_.npos) {
        if (!fill()) FAIL("the server closed before it answered: " << buffer_);
    }
    Answer answer;
    const auto end = buffer_.find("\r\n\r\n");
    answer.head = "\r\n" + buffer_.substr(buffer_.find("\r\n") + 2, end - buffer_.find("\r\n"));
    answer.status = std::stoi(buffer_.substr(9, 3));
    buffer_.erase(0, end + 4);
    if (head_only || answer.status == 204 || answer.status == 101 || answer.status == 100) return answer;
    if (const auto length = answer.field("Content-Length")) {
        answer.body = read_exactly(std::stoul(*length));
    } else if (answer.field("Transfer-Encoding")) {
        bool complete = false;
        while (answer.body = decode_chunks(buffer_, complete), !complete) {
            if (!fill()) {
                answer.status = -answer.status;  // cut off
                return answer;
            }
        }
        buffer_.clear();
    } else {
        while (fill()) {
        }
        answer.body = std::exchange(buffer_, {});
    }
    return answer;
}

Answer Client::ask(std::string_view text) {
    send(text);
    return receive();
}

std::string Client::read_some() {
    if (buffer_.empty() && !fill()) return {};
    return std::exchange(buffer_, {});
}

std::string Client::read_exactly(std::size_t size) {
    while (buffer_.size() < size) {
        if (!fill()) FAIL("the server closed in the middle");
    }
    std::string out = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return out;
}

bool Client::at_end() {
    while (fill()) {
    }
    return true;
}

void Client::shutdown_write() { ::shutdown(socket_.get(), SHUT_WR); }

ServerConfig Bench::quick() {
    ServerConfig config;
    config.root_tenant = TenantId::trusted("dev");
    config.request_bytes_max = 1 << 20;
    return config;
}

Bench::Bench(ServerConfig config, std::optional<TlsFiles> tls) : engine_{std::make_unique<ServerEngine>(context_.get_executor())} {
    shared().served = 0;
    shared().gone = 0;
    shared().tidied = 0;
    shared().release = false;
    std::string name = "/tmp/sbx-server-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
    unix_path_ = folder_ + "/s";
    Listening listening{listen_tcp(port_), listen_unix(unix_path_)};
    auto made = Server::make(context_.get_executor(), std::move(config), kRoutes, *engine_, metrics_, std::move(listening), std::move(tls));
    REQUIRE(made);
    server_ = *std::move(made);
    server_->start();
    thread_ = std::thread{[this] { context_.run(); }};
}

void Bench::stop_in_background(Deadline deadline) {
    stopping_ = true;
    asio::post(context_, [this, deadline] { asio::co_spawn(context_, server_->stop(deadline), asio::detached); });
}

void Bench::watch_settled(Deadline deadline, std::atomic<bool>& settled) {
    asio::post(context_, [this, deadline, &settled] {
        asio::co_spawn(context_, server_->settled(deadline), [&settled](const std::exception_ptr&) { settled = true; });
    });
}

void Bench::stop(Deadline deadline) {
    if (!thread_.joinable()) return;
    if (!stopping_) stop_in_background(deadline);
    thread_.join();  // nothing is left to run
}

Bench::~Bench() {
    shared().release = true;
    stop();
    ::unlink(unix_path_.c_str());
    ::rmdir(folder_.c_str());
}

std::string request(const std::string& line, const std::string& fields, const std::string& body) {
    std::string out = line + " HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer sbx_test\r\n" + fields;
    if (!body.empty()) out += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    return out + "\r\n" + body;
}

}  // namespace sandboxd::api::testing
