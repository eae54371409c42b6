#include "api/errors.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "sandboxd/core/utf8.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

std::string text(std::string_view bytes) {
    std::string out;
    utf8::append_valid(out, bytes);
    return out;
}

json body_of(std::string_view code, std::string_view message, json details) {
    return {{"error", {{"code", code}, {"message", text(message)}, {"details", std::move(details)}}}};
}

void add_status_fields(Response& response, const Error& error) {
    const Errc code = error.errc();
    if (code == Errc::unauthorized) response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"sandboxd\"");
    const bool again = code == Errc::rate_limited || code == Errc::node_full || code == Errc::draining || code == Errc::unavailable;
    if (again) response.headers.emplace_back("Retry-After", "1");
    for (const auto& [name, value] : error.facts()) {
        if (code == Errc::method_not_allowed && name == "allow") response.headers.emplace_back("Allow", std::get<std::string>(value));
    }
}

}  // namespace

unsigned http_status(Errc code) noexcept {
    switch (code) {
        case Errc::invalid_argument: return 400;
        case Errc::unauthorized: return 401;
        case Errc::forbidden: return 403;
        case Errc::not_found: return 404;
        case Errc::method_not_allowed: return 405;
        case Errc::not_acceptable: return 406;
        case Errc::conflict: return 409;
        case Errc::gone: return 410;
        case Errc::node_lost: return 410;
        case Errc::payload_too_large: return 413;
        case Errc::unsupported_media: return 415;
        case Errc::range_not_satisfiable: return 416;
        case Errc::command_not_found: return 400;
        case Errc::limit_exceeded: return 400;
        case Errc::tenant_quota: return 429;
        case Errc::rate_limited: return 429;
        case Errc::node_full: return 503;
        case Errc::draining: return 503;
        case Errc::incompatible: return 409;
        case Errc::unavailable: return 503;
        case Errc::timeout: return 504;
        case Errc::disk_full: return 507;
        case Errc::protocol_error: return 502;
        case Errc::canceled: return 499;
        case Errc::internal: return 500;
    }
    return 500;
}

json error_json(const Error& error) {
    json details = json::object();
    for (const auto& [name, value] : error.facts()) {
        if (const auto* number = std::get_if<std::int64_t>(&value)) details[name] = *number;
        else details[name] = text(std::get<std::string>(value));
    }
    const bool internal = error.errc() == Errc::internal;
    const std::string message = internal ? "internal error; the daemon's log has it under this answer's X-Request-Id" : error.message();
    return body_of(to_string(error.errc()), message, std::move(details)).at("error");
}

Response error_response(const Error& error) {
    Response response;
    response.status = http_status(error.errc());
    response.body = json{{"error", error_json(error)}}.dump();
    add_status_fields(response, error);
    return response;
}

Response refusal_response(unsigned status, std::string_view code, std::string_view message) {
    Response response;
    response.status = status;
    response.body = body_of(code, message, json::object()).dump();
    return response;
}

Error field_error(std::string_view field, std::string_view expected, std::string_view got) {
    constexpr std::size_t kShown = 200;
    std::string shown = text(got.substr(0, kShown));
    if (got.size() > kShown) shown += "…";
    std::string message = "expected " + std::string{expected} + ", got " + shown;
    return Error{Errc::invalid_argument, std::string{field}, std::move(message)}
        .fact("field", std::string{field})
        .fact("expected", std::string{expected})
        .fact("got", std::move(shown));
}

}  // namespace sandboxd::api
