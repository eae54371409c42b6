#pragma once

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "api/exchange.hpp"
#include "api/exec_routes.hpp"
#include "api/route.hpp"
#include "tests/unit/api/exec_fake_engine.hpp"

// A client without a socket: handlers are stepped by hand, so that the order of events is exact and nothing sleeps.
namespace sandboxd::api::testing {

class FakeSocket final : public WebSocket {
public:
    // What both ends share; the test keeps it when the handler's end is gone.
    struct Wire {
        explicit Wire(asio::any_io_executor executor) : changed{std::move(executor)} {}
        void say(std::string text) {
            from_client.push_back({false, std::move(text)});
            changed.notify();
        }
        void say(const nlohmann::json& message) { say(message.dump()); }
        void say_binary(std::string bytes) {
            from_client.push_back({true, std::move(bytes)});
            changed.notify();
        }
        void leave() {
            left = true;
            changed.notify();
        }
        void hold(bool on) {
            held = on;
            changed.notify();
        }
        std::vector<std::string> types() const {
            std::vector<std::string> out;
            for (const auto& event : events) out.push_back(event.at("type"));
            return out;
        }
        std::string text_of(const std::string& type) const {
            std::string out;
            for (const auto& event : events) {
                if (event.at("type") == type) out += event.at("data").get<std::string>();
            }
            return out;
        }

        std::deque<WebSocket::Message> from_client;
        std::vector<nlohmann::json> events;
        std::vector<std::string> frames;  // binary ones
        std::optional<std::uint16_t> close_code;
        bool left = false;
        bool held = false;  // a client that does not read
        bool sending = false;
        Event changed;
    };

    explicit FakeSocket(std::shared_ptr<Wire> wire) : wire_{std::move(wire)} {}

    asio::awaitable<Result<Message>> read(Deadline deadline) override {
        while (wire_->from_client.empty()) {
            if (wire_->left || wire_->close_code) co_return Error{Errc::canceled, "read"};
            SBX_CO_CHECK(co_await wire_->changed.wait(deadline));
        }
        Message message = std::move(wire_->from_client.front());
        wire_->from_client.pop_front();
        co_return message;
    }
    asio::awaitable<Result<void>> send_text(std::string text) override {
        SBX_CO_CHECK(co_await pass());
        wire_->events.push_back(nlohmann::json::parse(text));
        co_return Result<void>{};
    }
    asio::awaitable<Result<void>> send_binary(std::span<const std::byte> head, std::span<const std::byte> data) override {
        SBX_CO_CHECK(co_await pass());
        std::string frame{reinterpret_cast<const char*>(head.data()), head.size()};
        frame.append(reinterpret_cast<const char*>(data.data()), data.size());
        wire_->frames.push_back(std::move(frame));
        co_return Result<void>{};
    }
    asio::awaitable<void> close(std::uint16_t code, std::string) override {
        if (!wire_->close_code) wire_->close_code = code;
        wire_->changed.notify();
        co_return;
    }

private:
    asio::awaitable<Result<void>> pass() {
        if (std::exchange(wire_->sending, true)) co_return Error{Errc::internal, "send", "two at a time"};
        while (wire_->held && !wire_->left) SBX_CO_CHECK(co_await wire_->changed.wait(Deadline::never()));
        wire_->sending = false;
        if (wire_->left || wire_->close_code) co_return Error{Errc::canceled, "send"};
        co_return Result<void>{};
    }
    std::shared_ptr<Wire> wire_;
};

class FakeExchange final : public Exchange {
public:
    FakeExchange(asio::io_context& io, engine::Engine& engine)
        : wire{std::make_shared<FakeSocket::Wire>(io.get_executor())}, io_{io}, engine_{engine}, changed_{io.get_executor()},
          tasks_{io.get_executor()} {
        caller_.tenant = TenantId::trusted("dev");
    }

    // "POST /v1/sandboxes/box00001/exec?x=y" through the route tables, until it waits for something.
    void start(const std::string& request, std::string body = {}) {
        std::istringstream words{request};
        std::string target;
        words >> method_ >> target;
        const std::size_t mark = target.find('?');
        path_ = target.substr(0, mark);
        if (mark != std::string::npos) parse_query(target.substr(mark + 1));
        pieces.push_back(std::move(body));
        const Route* route = match();
        if (!route) throw std::runtime_error{"no route for " + request};
        auto ended = [this](std::exception_ptr failure, Result<void> outcome) {
            if (failure && cancelling_) {
                cancelled = true;  // Asio's way of ending a cancelled coroutine
                return;
            }
            if (failure) std::rethrow_exception(failure);
            result = std::move(outcome);
        };
        asio::co_spawn(io_, route->handler(*this), asio::bind_cancellation_slot(cancel_.slot(), std::move(ended)));
        step();
    }
    // The server goes down.
    void cancel() {
        cancelling_ = true;
        tasks_.cancel();
        cancel_.emit(asio::cancellation_type::all);
        step();
    }
    void step() {
        io_.restart();
        io_.poll();
    }
    void client_leaves() {
        client_left_ = true;
        changed_.notify();
        step();
    }
    void push_piece(std::optional<std::string> piece) {  // nothing: the connection breaks
        if (piece) pieces.push_back(*std::move(piece)); else broken_ = true;
        changed_.notify();
        step();
    }
    void finish_tasks() {
        step();
        io_.restart();
        while (tasks_.size() != 0) {
            if (io_.run_one() == 0) throw std::runtime_error{"a task waits for nothing"};
        }
    }
    std::size_t tasks() const { return tasks_.size(); }
    bool done() const { return result.has_value(); }
    bool ok() const { return result.value().has_value(); }
    Error error() const { return result.value().error(); }
    std::string bad_field() const {
        const Error refusal = error();
        for (const auto& [name, value] : refusal.facts()) {
            if (name == "field") return std::get<std::string>(value);
        }
        return {};
    }
    nlohmann::json json() const { return nlohmann::json::parse(answer.value().body); }
    std::vector<nlohmann::json> lines() const {
        std::vector<nlohmann::json> out;
        std::istringstream text{streamed};
        for (std::string line; std::getline(text, line);) out.push_back(nlohmann::json::parse(line));
        return out;
    }
    std::optional<std::string> answer_header(const std::string& name) const {
        const Response& response = head ? *head : answer.value();
        for (const auto& [key, value] : response.headers) {
            if (key == name) return value;
        }
        return std::nullopt;
    }

    std::string_view method() const override { return method_; }
    std::string_view path() const override { return path_; }
    std::string_view param(std::string_view name) const override {
        const auto found = params_.find(std::string{name});
        return found == params_.end() ? std::string_view{} : found->second;
    }
    std::optional<std::string> query(std::string_view name) const override {
        const auto found = query_.find(std::string{name});
        if (found == query_.end()) return std::nullopt;
        return found->second;
    }
    std::vector<std::pair<std::string, std::string>> queries(std::string_view) const override { return {}; }
    std::optional<std::string_view> header(std::string_view name) const override {
        const auto found = headers.find(std::string{name});
        if (found == headers.end()) return std::nullopt;
        return found->second;
    }
    const Caller& caller() const override { return caller_; }
    const std::string& request_id() const override { return request_id_; }
    engine::Engine& engine() override { return engine_; }
    const NodeIdentity& node() const override { return node_; }
    Metrics& metrics() override { throw std::logic_error{"no handler of a sandbox's programs counts by itself"}; }
    std::optional<std::uint64_t> content_length() const override { return std::nullopt; }
    asio::awaitable<Result<std::string>> body() override { co_return pieces.front(); }
    asio::awaitable<Result<std::size_t>> read_body(std::span<std::byte> buffer) override {
        while (pieces.empty()) {
            if (broken_) co_return Error{Errc::canceled, "body", "the connection broke"};
            SBX_CO_CHECK(co_await changed_.wait(Deadline::never()));
        }
        std::string piece = std::move(pieces.front());
        pieces.pop_front();
        const std::size_t count = std::min(buffer.size(), piece.size());
        std::memcpy(buffer.data(), piece.data(), count);
        if (count < piece.size()) pieces.push_front(piece.substr(count));
        co_return count;
    }
    asio::awaitable<Result<void>> respond(Response response) override {
        answer = std::move(response);
        co_return Result<void>{};
    }
    asio::awaitable<Result<void>> begin(Response response, std::optional<std::uint64_t> length) override {
        head = std::move(response);
        promised = length;
        co_return Result<void>{};
    }
    asio::awaitable<Result<void>> write(std::span<const std::byte> data) override {
        if (write_fails) co_return Error{Errc::timeout, "write", "slow client"};
        streamed.append(reinterpret_cast<const char*>(data.data()), data.size());
        ++writes;
        co_return Result<void>{};
    }
    asio::awaitable<Result<void>> finish() override {
        finished = true;
        co_return Result<void>{};
    }
    bool begun() const override { return head.has_value(); }
    asio::awaitable<Result<std::unique_ptr<WebSocket>>> upgrade() override {
        upgraded = true;
        std::unique_ptr<WebSocket> socket = std::make_unique<FakeSocket>(wire);
        co_return std::move(socket);
    }
    asio::awaitable<void> client_gone() override {
        while (!client_left_) {
            auto woken = co_await changed_.wait(Deadline::never());
            if (!woken) co_return;
        }
    }
    void background(std::string name, asio::awaitable<void> task) override { tasks_.spawn(std::move(name), std::move(task)); }

    std::map<std::string, std::string> headers;
    std::deque<std::string> pieces;  // of the body; an empty one is its end
    std::optional<Response> answer;
    std::optional<Response> head;
    std::optional<std::uint64_t> promised;
    std::string streamed;
    std::size_t writes = 0;
    bool finished = false;
    bool upgraded = false;
    bool write_fails = false;
    bool cancelled = false;
    std::optional<Result<void>> result;  // of the handler
    std::shared_ptr<FakeSocket::Wire> wire;

private:
    void parse_query(const std::string& text) {
        std::istringstream pairs{text};
        for (std::string pair; std::getline(pairs, pair, '&');) {
            const std::size_t equals = pair.find('=');
            query_[pair.substr(0, equals)] = equals == std::string::npos ? "" : pair.substr(equals + 1);
        }
    }
    const Route* match() {
        const Route* found = nullptr;
        for (const auto table : {run_routes(), exec_routes(), files_routes()}) {
            for (const Route& route : table) {
                const bool method = route.method == method_ || (method_ == "HEAD" && route.method == "GET");
                // Literal segments win over parameters, as in the server.
                if (method && matches(route.pattern) && (!found || route.pattern.ends_with("/ws"))) found = &route;
            }
        }
        if (found) (void)matches(found->pattern);
        return found;
    }
    bool matches(std::string_view pattern) {
        std::istringstream wanted{std::string{pattern}};
        std::istringstream given{path_};
        std::map<std::string, std::string> params;
        std::string one;
        std::string other;
        while (std::getline(wanted, one, '/')) {
            if (!std::getline(given, other, '/')) return false;
            if (one.starts_with('{')) params[one.substr(1, one.size() - 2)] = other;
            else if (one != other) return false;
        }
        if (std::getline(given, other, '/')) return false;
        params_ = std::move(params);
        return true;
    }

    asio::io_context& io_;
    engine::Engine& engine_;
    NodeIdentity node_;
    Event changed_;
    TaskGroup tasks_;
    std::string method_;
    std::string path_;
    std::map<std::string, std::string> params_;
    std::map<std::string, std::string> query_;
    Caller caller_;
    std::string request_id_ = "r1";
    asio::cancellation_signal cancel_;
    bool cancelling_ = false;
    bool client_left_ = false;
    bool broken_ = false;
};

}  // namespace sandboxd::api::testing
