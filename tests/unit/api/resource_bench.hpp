#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
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

#include "api/errors.hpp"
#include "api/metrics.hpp"
#include "api/resource_routes.hpp"
#include "tests/unit/api/resource_fake_engine.hpp"

// Requests without a socket: a handler runs until it has answered or waits for something that the test brings about.
namespace sandboxd::api::testing {

class PlainExchange final : public Exchange {
public:
    PlainExchange(asio::io_context& io, engine::Engine& engine, Metrics& metrics, Caller caller)
        : io_{io}, engine_{engine}, metrics_{metrics}, caller_{std::move(caller)}, left_{io.get_executor()} {}

    void start(const std::string& request, std::string sent) {
        std::istringstream words{request};
        std::string target;
        words >> method_ >> target;
        const std::size_t mark = target.find('?');
        path_ = target.substr(0, mark);
        if (mark != std::string::npos) split(target.substr(mark + 1));
        body_ = std::move(sent);
        const Route& route = find_route();
        auto ended = [this](std::exception_ptr failure, Result<void> outcome) {
            if (failure) std::rethrow_exception(failure);
            if (!outcome) answer = error_response(outcome.error());
        };
        asio::co_spawn(io_, route.handler(*this), std::move(ended));
        step();
    }
    void step() {
        io_.restart();
        io_.poll();
    }
    void leave() {
        gone_ = true;
        left_.notify();
        step();
    }

    std::string_view method() const override { return method_; }
    std::string_view path() const override { return path_; }
    std::string_view param(std::string_view name) const override {
        const auto found = params_.find(std::string{name});
        return found == params_.end() ? std::string_view{} : found->second;
    }
    std::optional<std::string> query(std::string_view name) const override {
        for (const auto& [key, value] : query_) {
            if (key == name) return value;
        }
        return std::nullopt;
    }
    std::vector<std::pair<std::string, std::string>> queries(std::string_view prefix) const override {
        std::vector<std::pair<std::string, std::string>> out;
        for (const auto& [key, value] : query_) {
            if (key.starts_with(prefix)) out.emplace_back(key.substr(prefix.size()), value);
        }
        return out;
    }
    std::optional<std::string_view> header(std::string_view) const override { return std::nullopt; }
    const Caller& caller() const override { return caller_; }
    const std::string& request_id() const override { return request_id_; }
    engine::Engine& engine() override { return engine_; }
    const NodeIdentity& node() const override { return node_; }
    Metrics& metrics() override { return metrics_; }
    std::optional<std::uint64_t> content_length() const override { return body_.size(); }
    asio::awaitable<Result<std::string>> body() override { co_return body_; }
    asio::awaitable<Result<std::size_t>> read_body(std::span<std::byte>) override { co_return std::size_t{0}; }
    asio::awaitable<Result<void>> respond(Response response) override {
        if (answer) throw std::logic_error{"two answers"};
        answer = std::move(response);
        co_return Result<void>{};
    }
    asio::awaitable<Result<void>> begin(Response, std::optional<std::uint64_t>) override { co_return Error{Errc::internal, "begin"}; }
    asio::awaitable<Result<void>> write(std::span<const std::byte>) override { co_return Error{Errc::internal, "write"}; }
    asio::awaitable<Result<void>> finish() override { co_return Error{Errc::internal, "finish"}; }
    bool begun() const override { return false; }
    asio::awaitable<Result<std::unique_ptr<WebSocket>>> upgrade() override { co_return Error{Errc::internal, "upgrade"}; }
    asio::awaitable<void> client_gone() override {
        while (!gone_) {
            auto woken = co_await left_.wait(Deadline::never());
            if (!woken) co_return;
        }
    }
    void background(std::string, asio::awaitable<void>) override {}

    std::optional<Response> answer;

private:
    void split(const std::string& text) {
        std::istringstream pairs{text};
        for (std::string pair; std::getline(pairs, pair, '&');) {
            const std::size_t equals = pair.find('=');
            query_.emplace_back(pair.substr(0, equals), equals == std::string::npos ? "" : pair.substr(equals + 1));
        }
    }
    const Route& find_route() {
        for (const auto table : {sandbox_routes(), usage_routes(), admin_routes(), attest_routes(), operations_routes()}) {
            for (const Route& route : table) {
                if (route.method == method_ && fits(route.pattern)) return route;
            }
        }
        throw std::runtime_error{"no route for " + method_ + " " + path_};
    }
    bool fits(std::string_view pattern) {
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
    Metrics& metrics_;
    Caller caller_;
    Event left_;
    NodeIdentity node_{1, 2, 3, 4};
    std::string method_;
    std::string path_;
    std::string body_;
    std::map<std::string, std::string> params_;
    std::vector<std::pair<std::string, std::string>> query_;
    std::string request_id_ = "r1";
    bool gone_ = false;
};

struct Answer {
    unsigned status = 0;
    std::string type;
    std::string text;
    std::vector<std::pair<std::string, std::string>> headers;

    nlohmann::json json() const { return nlohmann::json::parse(text); }
    std::string code() const { return json().at("error").at("code"); }
    std::string message() const { return json().at("error").at("message"); }
    nlohmann::json detail(const std::string& name) const { return json().at("error").at("details").at(name); }
    std::string header(const std::string& name) const {
        for (const auto& [key, value] : headers) {
            if (key == name) return value;
        }
        return {};
    }
};

inline Answer answer_of(PlainExchange& exchange) {
    const Response& response = exchange.answer.value();
    return {response.status, response.content_type, response.body, response.headers};
}

struct ResourceBench {
    asio::io_context io;
    FakeNode engine{io.get_executor()};
    Metrics metrics;
    Caller caller{TenantId::trusted("dev"), false, {}};

    std::unique_ptr<PlainExchange> begin(const std::string& request, std::string body = {}) {
        auto exchange = std::make_unique<PlainExchange>(io, engine, metrics, caller);
        exchange->start(request, std::move(body));
        return exchange;
    }
    Answer ask(const std::string& request, std::string body = {}) { return answer_of(*begin(request, std::move(body))); }
    Answer send(const std::string& request, const nlohmann::json& body) { return ask(request, body.dump()); }
};

}  // namespace sandboxd::api::testing
