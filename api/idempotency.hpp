#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "api/hub.hpp"

namespace sandboxd::api {

// One request that carries an Idempotency-Key. The claim is in the ledger before the handler runs and the answer is
// there before the client has it, so that a repetition never does the work again: not after a lost connection, and
// not after a crash of the API once the answer was kept.
class IdempotentRequest {
public:
    // invalid_argument when the key has no 1 to 255 printable characters.
    [[nodiscard]] static Result<IdempotentRequest> make(Hub& hub, const TenantId& tenant, std::string_view key, std::string_view method,
                                                       std::string_view target, std::string_view body);
    IdempotentRequest(IdempotentRequest&& other) noexcept;
    IdempotentRequest& operator=(IdempotentRequest&&) = delete;
    ~IdempotentRequest();  // gives the claim back to whoever waits in this process

    // Nothing: this request has the claim and is to be served. Else the answer that was given before. conflict: the
    // key was used for another request; timeout: the first one is still being served.
    [[nodiscard]] asio::awaitable<Result<std::optional<Response>>> claim(Deadline deadline);
    // Keeps the answer, or gives the key free where a repetition should try again (429, 499, 5xx) or the answer is too
    // large to keep; false then.
    [[nodiscard]] asio::awaitable<Result<bool>> keep(const Response& response);

private:
    IdempotentRequest(Hub& hub, ledger::IdempotencyRecord record);
    [[nodiscard]] std::string name() const { return record_.tenant.str() + ' ' + record_.key; }

    Hub* hub_;
    ledger::IdempotencyRecord record_;
    bool claimed_ = false;
};

}  // namespace sandboxd::api
