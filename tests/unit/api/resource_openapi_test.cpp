#include <catch2/catch.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "api/openapi.hpp"
#include "api/server.hpp"

using namespace sandboxd;
using namespace sandboxd::api;
using nlohmann::json;

namespace {

json document() { return openapi_document(all_routes()); }

std::string lower(std::string_view text) {
    std::string out;
    for (const char c : text) out += static_cast<char>(c | 0x20);
    return out;
}

void visit(const json& value, const std::function<void(const json&)>& look) {
    look(value);
    for (const auto& child : value) {
        if (value.is_structured()) visit(child, look);
    }
}

const json* parameter(const json& operation, const std::string& name, const std::string& where) {
    for (const auto& one : operation.at("parameters")) {
        if (one.at("name") == name && one.at("in") == where) return &one;
    }
    return nullptr;
}

}  // namespace

TEST_CASE("every route is an operation of the document, and there is no other") {
    const json paths = document().at("paths");
    std::size_t operations = 0;
    for (const auto& [path, methods] : paths.items()) operations += methods.size();
    CHECK(operations == all_routes().size());
    std::set<std::string> names;
    for (const Route& route : all_routes()) {
        INFO(route.method << " " << route.pattern);
        const json& operation = paths.at(std::string{route.pattern}).at(lower(route.method));
        CHECK(operation.at("operationId") == route.operation_id);
        CHECK(names.insert(operation.at("operationId")).second);
        CHECK_FALSE(operation.at("summary").get<std::string>().empty());
        CHECK(operation.at("responses").contains(std::to_string(route.success)));
        CHECK(operation.at("responses").contains("default"));
        CHECK(operation.at("security").empty() == (route.auth == Auth::none));
        CHECK(operation.at("responses").contains("401") == (route.auth != Auth::none));
        CHECK(operation.contains("requestBody") == (route.body != nullptr || route.streams_body));
    }
}

TEST_CASE("every parameter of a path is declared, required and nothing else") {
    const json paths = document().at("paths");
    for (const auto& [path, methods] : paths.items()) {
        std::set<std::string> wanted;
        for (auto at = path.find('{'); at != std::string::npos; at = path.find('{', at + 1)) wanted.insert(path.substr(at + 1, path.find('}', at) - at - 1));
        for (const auto& [method, operation] : methods.items()) {
            INFO(method << " " << path);
            std::set<std::string> declared;
            std::set<std::pair<std::string, std::string>> all;
            for (const auto& one : operation.value("parameters", json::array())) {
                CHECK(all.emplace(one.at("name"), one.at("in")).second);
                if (one.at("in") != "path") continue;
                CHECK(one.at("required") == true);
                declared.insert(one.at("name"));
            }
            CHECK(declared == wanted);
        }
    }
}

TEST_CASE("every reference leads to something") {
    const json whole = document();
    std::size_t references = 0;
    visit(whole, [&](const json& value) {
        if (!value.is_object() || !value.contains("$ref")) return;
        ++references;
        const std::string target = value.at("$ref");
        INFO(target);
        REQUIRE(target.starts_with("#/"));
        CHECK(whole.contains(json::json_pointer{target.substr(1)}));
    });
    CHECK(references > 100);
    for (const char* name : {"Error", "ErrorBody", "Sandbox", "SandboxCreate", "Limits", "Usage", "Cost", "UsageReport", "UsageRow", "Tenant", "TenantLimits",
                             "Node", "NodeIdentity", "ExecAnswer", "RunRequest"}) {
        INFO(name);
        CHECK(whole.at("components").at("schemas").contains(name));
    }
}

TEST_CASE("a schema says what the check of a request enforces") {
    const json schemas = document().at("components").at("schemas");
    const json create = schemas.at("SandboxCreate");
    CHECK(create.at("additionalProperties") == false);
    CHECK_FALSE(create.contains("required"));
    CHECK(create.at("properties").at("timeout_s").at("type") == "integer");
    CHECK(create.at("properties").at("timeout_s").at("minimum") == 1);
    CHECK(create.at("properties").at("timeout_s").at("default") == 300);
    CHECK(create.at("properties").at("on_timeout").at("enum") == json{"kill", "pause"});
    CHECK(create.at("properties").at("metadata").at("additionalProperties").at("type") == "string");
    CHECK(create.at("properties").at("metadata").at("maxProperties") == 64);
    CHECK(create.at("properties").at("limits").at("$ref") == "#/components/schemas/Limits");
    CHECK(create.at("properties").at("id").at("pattern") == "^[a-z0-9]{8,40}$");
    CHECK(create.at("properties").at("network").at("default") == "none");
    CHECK(schemas.at("Limits").at("properties").at("cpus").at("minimum") == 0.05);
    CHECK(schemas.at("KeyCreate").at("required") == json{"tenant"});
    CHECK(schemas.at("Sandbox").at("properties").at("expires_at").at("type") == json{"string", "null"});
    CHECK(schemas.at("UsageReport").at("properties").at("rows").at("items").at("$ref") == "#/components/schemas/UsageRow");
    CHECK_FALSE(schemas.at("Sandbox").contains("additionalProperties"));
    const json files = schemas.at("RunRequest").at("properties").at("files").at("additionalProperties").at("oneOf");
    CHECK(files.at(1).at("properties").contains("base64"));
}

TEST_CASE("a default that is no value of its type is told in words") {
    const json schemas = document().at("components").at("schemas");
    visit(schemas, [&](const json& value) {
        if (!value.is_object() || !value.contains("default") || !value.contains("type") || !value.at("type").is_string()) return;
        INFO(value.dump());
        const std::string type = value.at("type");
        if (type == "integer") CHECK(value.at("default").is_number_integer());
        if (type == "boolean") CHECK(value.at("default").is_boolean());
        if (type == "string") CHECK(value.at("default").is_string());
    });
    const json timeout = schemas.at("ExecRequest").at("properties").at("timeout_ms");
    CHECK_FALSE(timeout.contains("default"));
    CHECK(timeout.at("description").get<std::string>().find("Default: 60000; 0 with detach.") != std::string::npos);
}

TEST_CASE("parameters with a prefix are one exploded object") {
    const json list = document().at("paths").at("/v1/sandboxes").at("get");
    const json* metadata = parameter(list, "metadata", "query");
    REQUIRE(metadata != nullptr);
    CHECK(metadata->at("style") == "form");
    CHECK(metadata->at("explode") == true);
    CHECK(metadata->at("schema").at("propertyNames").at("pattern") == "^metadata\\.");
    CHECK(parameter(list, "limit", "query")->at("schema").at("maximum") == 1000);
    CHECK(parameter(list, "state", "query")->at("schema").at("enum").size() == 3);
}

TEST_CASE("a POST may have an idempotency key, a stream of bytes a body, and a WebSocket no content") {
    const json paths = document().at("paths");
    CHECK(parameter(paths.at("/v1/sandboxes").at("post"), "Idempotency-Key", "header") != nullptr);
    CHECK(parameter(paths.at("/v1/sandboxes").at("get"), "Idempotency-Key", "header") == nullptr);
    CHECK(paths.at("/v1/sandboxes/{id}/files").at("put").at("requestBody").at("content").contains("application/octet-stream"));
    const json socket = paths.at("/v1/sandboxes/{id}/exec/ws").at("get");
    CHECK(socket.at("responses").contains("101"));
    CHECK_FALSE(socket.at("responses").at("101").contains("content"));
    CHECK(paths.at("/v1/sandboxes/{id}").at("delete").at("responses").at("204").size() == 1);
    CHECK(paths.at("/metrics").at("get").at("responses").at("200").at("content").contains("text/plain"));
}

TEST_CASE("what is not in this build promises no success") {
    const json fork = document().at("paths").at("/v1/sandboxes/{id}/fork").at("post");
    for (const auto& [status, response] : fork.at("responses").items()) CHECK_FALSE(status.starts_with("2"));
    CHECK(fork.at("responses").contains("409"));
}
