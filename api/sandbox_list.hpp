#pragma once

#include <array>
#include <boost/asio/awaitable.hpp>
#include <string>
#include <string_view>

#include "api/exchange.hpp"
#include "api/paging.hpp"
#include "api/schema.hpp"
#include "sandboxd/core/clock.hpp"
#include "sandboxd/core/ids.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::api {

// Where a page of the tenant's sandboxes ended: newest first, equal ages by id.
struct SandboxPlace {
    WallTime created;
    SandboxId id;
    bool operator==(const SandboxPlace&) const = default;
};
[[nodiscard]] std::string write_cursor(const SandboxPlace& place);
// invalid_argument naming `cursor` when it is none of ours.
[[nodiscard]] Result<SandboxPlace> read_cursor(std::string_view cursor);

// GET /v1/sandboxes
inline constexpr std::array<std::string_view, 3> kListedStates{"running", "paused", "ending"};
inline constexpr std::array kListSandboxesQuery{
    kLimitParameter,
    kCursorParameter,
    Field{.name = "state", .description = "Only those in this state.", .values = kListedStates},
    Field{.name = "metadata.*", .description = "metadata.KEY=VALUE: only those with this pair, and with every other that is given."},
};
extern const Schema kSandboxListSchema;
[[nodiscard]] asio::awaitable<Result<void>> list_sandboxes(Exchange& exchange);

}  // namespace sandboxd::api
