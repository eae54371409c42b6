#include "api/sandbox_list.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "api/errors.hpp"
#include "api/json.hpp"
#include "api/schema_text.hpp"
#include "sandboxd/engine/engine.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr std::size_t kTimeDigits = 16;  // hexadecimal, nanoseconds
constexpr std::string_view kMetadataPrefix = "metadata.";

constexpr std::array kListFields{
    Field{.name = "sandboxes", .type = Type::object_array, .required = true, .description = "Newest first, without env.", .object = &kSandboxSchema},
    kNextCursorField,
};

Result<engine::SandboxState> parse_state(std::string_view text) {
    for (const auto state : {engine::SandboxState::running, engine::SandboxState::paused, engine::SandboxState::ending}) {
        if (engine::to_string(state) == text) return state;
    }
    return field_error("state", list_values(kListedStates), text);
}

Result<engine::SandboxFilter> parse_filter(const Exchange& exchange) {
    engine::SandboxFilter filter;
    if (const auto state = exchange.query("state")) {
        SBX_TRY(filter.state, parse_state(*state));
    }
    for (auto& [name, value] : exchange.queries(kMetadataPrefix)) {
        const std::string field = std::string{kMetadataPrefix} + name;
        if (name.empty()) return field_error(field, "the name of a pair behind the dot", "none");
        const auto [known, added] = filter.metadata.try_emplace(std::move(name), std::move(value));
        if (!added) return field_error(field, "one value", "two");
    }
    return filter;
}

SandboxPlace place_of(const engine::Sandbox& sandbox) { return {sandbox.record().created, sandbox.record().id}; }

bool is_behind(const SandboxPlace& one, const SandboxPlace& other) {
    return one.created != other.created ? one.created < other.created : one.id < other.id;
}

json page_json(const std::vector<engine::SandboxPtr>& sandboxes, const std::optional<SandboxPlace>& after, std::size_t limit) {
    const auto seen = [&](const engine::SandboxPtr& sandbox) { return after && !is_behind(place_of(*sandbox), *after); };
    auto next = std::partition_point(sandboxes.begin(), sandboxes.end(), seen);
    json items = json::array();
    for (; next != sandboxes.end() && items.size() < limit; ++next) items.push_back(sandbox_json(**next, ShowEnv::no));
    json page = json::object();
    if (next != sandboxes.end()) page["next_cursor"] = write_cursor(place_of(**std::prev(next)));
    page["sandboxes"] = std::move(items);
    return page;
}

}  // namespace

constexpr Schema kSandboxListSchema{"SandboxList", kListFields};

std::string write_cursor(const SandboxPlace& place) {
    std::array<char, kTimeDigits + 1> time{};
    std::snprintf(time.data(), time.size(), "%016llx", static_cast<unsigned long long>(place.created.time_since_epoch().count()));
    return time.data() + place.id.str();
}

Result<SandboxPlace> read_cursor(std::string_view cursor) {
    if (cursor.size() <= kTimeDigits) return cursor_error(cursor);
    std::uint64_t time = 0;
    const char* const digits_end = cursor.data() + kTimeDigits;
    const auto [end, failure] = std::from_chars(cursor.data(), digits_end, time, 16);
    if (failure != std::errc{} || end != digits_end) return cursor_error(cursor);
    // From which node the id is does not matter for a place in a list.
    const std::string_view id = cursor.substr(kTimeDigits);
    const auto parsed = parse_sandbox_id(id, NodeIdentity{});
    if (!parsed && !parsed.error().is(Errc::node_lost)) return cursor_error(cursor);
    return SandboxPlace{WallTime{std::chrono::nanoseconds{static_cast<std::int64_t>(time)}}, SandboxId::trusted(std::string{id})};
}

asio::awaitable<Result<void>> list_sandboxes(Exchange& exchange) {
    SBX_CO_TRY(const std::size_t limit, page_limit(exchange));
    SBX_CO_TRY(const engine::SandboxFilter filter, parse_filter(exchange));
    std::optional<SandboxPlace> after;
    if (const auto cursor = exchange.query("cursor")) {
        SBX_CO_TRY(after, read_cursor(*cursor));
    }
    const auto sandboxes = exchange.engine().list(exchange.caller().tenant, filter);
    Response response = json_response(200, page_json(sandboxes, after, limit));
    co_return co_await exchange.respond(std::move(response));
}

}  // namespace sandboxd::api
