#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "api/connection.hpp"
#include "api/exchange.hpp"
#include "api/hub.hpp"
#include "api/idempotency.hpp"
#include "api/router.hpp"

namespace sandboxd::api {

// The exchange of one HTTP request on a connection. Made by the session once the request has a route and a caller.
class HttpExchange final : public Exchange {
public:
    struct Request {
        std::string method;
        std::string id;
        Target target;
        Match match;
        Caller caller;
    };
    HttpExchange(Hub& hub, Connection& connection, Request request);
    ~HttpExchange() override { hub_.bodies_bytes -= held_; }

    std::string_view method() const override { return request_.method; }
    std::string_view path() const override { return request_.target.path; }
    std::string_view param(std::string_view name) const override;
    std::optional<std::string> query(std::string_view name) const override;
    std::vector<std::pair<std::string, std::string>> queries(std::string_view prefix) const override;
    std::optional<std::string_view> header(std::string_view name) const override;
    const Caller& caller() const override { return request_.caller; }
    const std::string& request_id() const override { return request_.id; }
    engine::Engine& engine() override { return hub_.engine; }
    const NodeIdentity& node() const override { return hub_.config.node; }
    Metrics& metrics() override { return hub_.metrics; }

    std::optional<std::uint64_t> content_length() const override;
    asio::awaitable<Result<std::string>> body() override;
    asio::awaitable<Result<std::size_t>> read_body(std::span<std::byte> buffer) override;
    asio::awaitable<Result<void>> respond(Response response) override;
    asio::awaitable<Result<void>> begin(Response head, std::optional<std::uint64_t> length) override;
    asio::awaitable<Result<void>> write(std::span<const std::byte> data) override;
    asio::awaitable<Result<void>> finish() override;
    bool begun() const override { return state_ != State::open; }
    asio::awaitable<Result<std::unique_ptr<WebSocket>>> upgrade() override;
    asio::awaitable<void> client_gone() override;
    void background(std::string name, asio::awaitable<void> task) override { hub_.background.spawn(std::move(name), std::move(task)); }

    // For the session: the answer is kept by `request` before it is sent.
    void make_idempotent(IdempotentRequest request) { idempotent_.emplace(std::move(request)); }
    [[nodiscard]] unsigned status() const noexcept { return status_; }  // 0 while there is none
    // A complete answer was sent on a connection that can carry the next request.
    [[nodiscard]] bool may_go_on() const noexcept { return state_ == State::finished && keep_alive_; }
    [[nodiscard]] bool finished() const noexcept { return state_ == State::finished; }
    // The handler streamed it, or began to.
    [[nodiscard]] bool took_body() const noexcept { return took_body_; }

private:
    enum class State { open, streaming, finished, upgraded };
    enum class Framing { none, length, chunked, until_close };

    [[nodiscard]] asio::awaitable<Result<void>> say_continue();
    [[nodiscard]] Result<void> hold(std::size_t bytes);
    [[nodiscard]] std::string head_text(const Response& response, std::optional<std::uint64_t> length);
    [[nodiscard]] asio::awaitable<Result<void>> send_body(std::string_view body, std::string head);

    Hub& hub_;
    Connection& connection_;
    Request request_;
    std::optional<std::string> body_;
    std::uint64_t held_ = 0;  // of the hub's budget for bodies
    std::optional<IdempotentRequest> idempotent_;
    State state_ = State::open;
    Framing framing_ = Framing::none;
    std::uint64_t left_ = 0;  // of a body with a length
    unsigned status_ = 0;
    bool keep_alive_ = true;
    bool continue_due_ = false;
    bool took_body_ = false;
};

}  // namespace sandboxd::api
