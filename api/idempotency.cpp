#include "api/idempotency.hpp"

#include <algorithm>
#include <utility>

#include "sandboxd/core/clock.hpp"
#include "sandboxd/engine/keyring.hpp"

namespace sandboxd::api {

namespace {

constexpr std::size_t kKeyMax = 255;
constexpr std::size_t kAnswerMax = 1 << 20;

std::string fingerprint(std::string_view method, std::string_view target, std::string_view body) {
    std::string text;
    text.reserve(method.size() + target.size() + body.size() + 2);
    text.append(method).append(1, '\n').append(target).append(1, '\n').append(body);
    return engine::to_hex(engine::sha256(text));
}

bool worth_keeping(const Response& response) {
    // 499: the client had gone, so nobody has this answer and the work was ended; 429 and 5xx pass.
    const bool again = response.status == 429 || response.status >= 499;
    return !again && response.body.size() <= kAnswerMax;
}

}  // namespace

IdempotentRequest::IdempotentRequest(Hub& hub, ledger::IdempotencyRecord record) : hub_{&hub}, record_{std::move(record)} {}

IdempotentRequest::IdempotentRequest(IdempotentRequest&& other) noexcept
    : hub_{other.hub_}, record_{std::move(other.record_)}, claimed_{std::exchange(other.claimed_, false)} {}

IdempotentRequest::~IdempotentRequest() {
    if (!claimed_) return;
    hub_->claimed.erase(name());
    hub_->answered.notify();
}

Result<IdempotentRequest> IdempotentRequest::make(Hub& hub, const TenantId& tenant, std::string_view key, std::string_view method,
                                                  std::string_view target, std::string_view body) {
    const auto printable = [](unsigned char c) { return c >= 0x20 && c < 0x7f; };
    if (key.empty() || key.size() > kKeyMax || !std::all_of(key.begin(), key.end(), printable)) {
        return Error{Errc::invalid_argument, "Idempotency-Key", "expected 1 to 255 printable ASCII characters"};
    }
    ledger::IdempotencyRecord record;
    record.tenant = tenant;
    record.key = key;
    record.request_fingerprint = fingerprint(method, target, body);
    record.created = system_clock().wall();
    return IdempotentRequest{hub, std::move(record)};
}

asio::awaitable<Result<std::optional<Response>>> IdempotentRequest::claim(Deadline deadline) {
    while (hub_->claimed.contains(name())) {
        auto woken = co_await hub_->answered.wait(deadline);
        if (!woken && woken.error().is(Errc::timeout)) {
            co_return Error{Errc::conflict, "Idempotency-Key", "the first request with this key is still being served"};
        }
        if (!woken) co_return std::move(woken).error();
    }
    hub_->claimed.insert(name());
    claimed_ = true;
    ledger::IdempotencyRecord asked = record_;
    SBX_CO_TRY(const std::optional<ledger::IdempotencyRecord> holder, co_await hub_->engine.claim_idempotency(std::move(asked)));
    if (!holder) co_return std::optional<Response>{};
    if (holder->request_fingerprint != record_.request_fingerprint) {
        co_return Error{Errc::conflict, "Idempotency-Key", "this key was used for another request; use a new one"};
    }
    // Its request was being served when this process' predecessor ended: whether it was done is not known.
    if (holder->status == 0) {
        co_return Error{Errc::conflict, "Idempotency-Key", "the first request with this key was cut off; look at what it did and use a new key"};
    }
    Response response;
    response.status = holder->status;
    response.content_type = holder->content_type;
    response.body = holder->body;
    response.headers.emplace_back("Idempotent-Replay", "true");
    co_return std::optional<Response>{std::move(response)};
}

asio::awaitable<Result<bool>> IdempotentRequest::keep(const Response& response) {
    if (!worth_keeping(response)) {
        SBX_CO_CHECK(co_await hub_->engine.drop_idempotency(record_.tenant, record_.key));
        co_return false;
    }
    ledger::IdempotencyRecord answered = record_;
    answered.status = response.status;
    answered.content_type = response.content_type;
    answered.body = response.body;
    SBX_CO_CHECK(co_await hub_->engine.finish_idempotency(std::move(answered)));
    co_return true;
}

}  // namespace sandboxd::api
