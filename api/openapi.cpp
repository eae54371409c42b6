#include "api/openapi.hpp"

#include <algorithm>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "api/json.hpp"
#include "api/openapi_schema.hpp"
#include "sandboxd/version.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr unsigned kSwitching = 101;

std::string lower(std::string_view text) {
    std::string out{text};
    std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

// "{id}" of a pattern.
std::vector<std::string> path_parameters(std::string_view pattern) {
    std::vector<std::string> out;
    for (auto open = pattern.find('{'); open != pattern.npos; open = pattern.find('{', open + 1)) {
        out.emplace_back(pattern.substr(open + 1, pattern.find('}', open) - open - 1));
    }
    return out;
}

json path_parameter(const std::string& name) {
    return {{"name", name}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}};
}

// A form-style object is one parameter for each of its properties: "metadata.*" as a client sends it.
json prefix_parameter(const Field& field) {
    const std::string_view prefix = field.name.substr(0, field.name.size() - 1);
    json pairs = {{"type", "object"}, {"additionalProperties", {{"type", "string"}}}};
    std::string pattern = "^";
    for (const char c : prefix) pattern += c == '.' ? std::string{"\\."} : std::string(1, c);
    pairs["propertyNames"] = {{"pattern", pattern}};
    return {{"name", std::string{prefix.substr(0, prefix.find('.'))}}, {"in", "query"}, {"style", "form"}, {"explode", true},
            {"description", std::string{field.description}}, {"schema", std::move(pairs)}};
}

json query_parameter(const Field& field) {
    if (field.name.ends_with(".*")) return prefix_parameter(field);
    json schema = field_schema(field);
    json out = {{"name", std::string{field.name}}, {"in", "query"}, {"required", field.required}};
    if (schema.contains("description")) out["description"] = schema["description"];
    schema.erase("description");
    out["schema"] = std::move(schema);
    return out;
}

json header_parameter(const char* name, const char* description, json schema) {
    return {{"name", name}, {"in", "header"}, {"description", description}, {"schema", std::move(schema)}};
}

json parameters_of(const Route& route) {
    json out = json::array();
    for (const std::string& name : path_parameters(route.pattern)) out.push_back(path_parameter(name));
    for (const Field& field : route.query) out.push_back(query_parameter(field));
    if (route.method == "POST" && !route.streams_body && route.success < 400) {
        const json text = {{"type", "string"}, {"maxLength", 255}};
        out.push_back(header_parameter("Idempotency-Key", "The same key and body give the same answer for 24 hours.", text));
    }
    return out;
}

json content(const std::string& type, json schema) {
    json out = json::object();
    out[type]["schema"] = std::move(schema);
    return out;
}

// An empty body stands for {}: it is required only where a field is.
json request_body(const Route& route) {
    if (route.streams_body) return {{"required", true}, {"content", content("application/octet-stream", json::object())}};
    const auto& fields = route.body->fields;
    const bool required = std::any_of(fields.begin(), fields.end(), [](const Field& field) { return field.required; });
    return {{"required", required}, {"content", content("application/json", reference(*route.body))}};
}

json success_response(const Route& route) {
    if (route.success == kSwitching) return {{"description", "The connection is a WebSocket from here on. " + std::string{route.summary}}};
    json out = {{"description", route.success == 204 ? "Done; no body." : "What was asked for."}};
    const bool has_body = route.success != 204;
    if (route.response != nullptr) out["content"] = content(std::string{route.response_type}, reference(*route.response));
    else if (has_body) out["content"] = content(std::string{route.response_type}, json::object());
    if (route.success == 201 && route.method == "POST" && route.pattern.find("{") == route.pattern.npos && !route.secret) {
        out["headers"]["Location"] = {{"description", "Its path."}, {"schema", {{"type", "string"}}}};
    }
    return out;
}

json responses_of(const Route& route) {
    json out = json::object();
    const auto refusal = [&](const char* status) { out[status]["$ref"] = "#/components/responses/Refusal"; };
    if (route.success < 400) out[std::to_string(route.success)] = success_response(route);
    else refusal(std::to_string(route.success).c_str());
    if (route.body != nullptr || !route.query.empty()) refusal("400");
    if (route.auth != Auth::none) refusal("401");
    if (route.auth == Auth::admin) refusal("403");
    if (!path_parameters(route.pattern).empty()) refusal("404");
    refusal("default");
    return out;
}

json security_of(Auth auth) {
    json out = json::array();
    if (auth == Auth::none) return out;
    out.push_back({{"bearer", json::array()}});
    out.push_back({{"apiKey", json::array()}});
    return out;
}

// "/v1/sandboxes/{id}/files" -> "files": the last word that names a resource.
std::string tag_of(std::string_view pattern) {
    std::string_view rest = pattern.starts_with("/v1/") ? pattern.substr(4) : std::string_view{"operations"};
    const std::string first{rest.substr(0, rest.find('/'))};
    constexpr std::string_view kUnder = "sandboxes/{id}/";
    if (!rest.starts_with(kUnder)) return first;
    rest.remove_prefix(kUnder.size());
    const std::string_view second = rest.substr(0, rest.find('/'));
    return second == "exec" || second == "files" ? std::string{second} : first;
}

json operation_of(const Route& route) {
    json out = {
        {"operationId", std::string{route.operation_id}},
        {"summary", std::string{route.summary}},
        {"tags", json::array({tag_of(route.pattern)})},
        {"security", security_of(route.auth)},
        {"responses", responses_of(route)},
    };
    json parameters = parameters_of(route);
    if (!parameters.empty()) out["parameters"] = std::move(parameters);
    if (route.body != nullptr || route.streams_body) out["requestBody"] = request_body(route);
    if (route.success == kSwitching) out["x-websocket"] = true;
    if (route.auth == Auth::admin) out["description"] = "For keys with admin rights.";
    return out;
}

json components_of(std::span<const Route> routes) {
    Components schemas;
    schemas.add(kErrorSchema);
    for (const Route& route : routes) {
        if (route.body != nullptr) schemas.add(*route.body);
        if (route.response != nullptr) schemas.add(*route.response);
    }
    json out = json::object();
    out["schemas"] = schemas.json();
    out["responses"]["Refusal"] = {{"description", "Why it was refused, in a form that a program can act on."},
                                   {"content", content("application/json", reference(kErrorSchema))}};
    out["securitySchemes"]["bearer"] = {{"type", "http"}, {"scheme", "bearer"}};
    out["securitySchemes"]["apiKey"] = {{"type", "apiKey"}, {"in", "header"}, {"name", "X-API-KEY"}};
    return out;
}

}  // namespace

json openapi_document(std::span<const Route> routes) {
    json out = json::object();
    out["openapi"] = "3.1.0";
    out["info"] = {{"title", "sandboxd"}, {"version", std::string{kVersionText}},
                   {"description", "Runs code that a model wrote, in sandboxes, and counts every second of it."}};
    out["servers"] = json::array({json{{"url", "/"}}});
    out["paths"] = json::object();
    for (const Route& route : routes) out["paths"][std::string{route.pattern}][lower(route.method)] = operation_of(route);
    out["components"] = components_of(routes);
    return out;
}

}  // namespace sandboxd::api
