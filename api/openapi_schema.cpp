#include "api/openapi_schema.hpp"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "sandboxd/core/assert.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

json type_of(const char* name, bool nullable) {
    if (!nullable) return name;
    return json::array({name, "null"});
}

json bound(double value) {
    if (value == std::floor(value) && std::abs(value) < 9e15) return static_cast<std::int64_t>(value);
    return value;
}

// `low` and `high` are JSON Schema's words for what is bounded: a value, a length or a count.
void add_bounds(json& out, const Field& field, const char* low, const char* high) {
    if (field.min != std::numeric_limits<double>::lowest()) out[low] = bound(field.min);
    if (field.max != std::numeric_limits<double>::max()) out[high] = bound(field.max);
}

// A default that is no value of the type (what it depends on, in words) belongs to the description.
void add_default(json& out, const Field& field) {
    if (field.default_text.empty()) return;
    const bool plain_string = field.type == Type::string;
    json value = plain_string ? json(std::string{field.default_text}) : json::parse(field.default_text, nullptr, false);
    const bool number = field.type == Type::integer || field.type == Type::number;
    const bool fits = !value.is_discarded() && (!number || value.is_number()) && (field.type != Type::boolean || value.is_boolean());
    const bool one_word = !plain_string || field.default_text.find(' ') == std::string_view::npos;
    if (fits && one_word && !out.contains("$ref")) {
        out["default"] = std::move(value);
        return;
    }
    out["description"] = out.value("description", std::string{}) + " Default: " + std::string{field.default_text} + ".";
}

json file_schema() {
    json encoded = {{"type", "object"}, {"required", json::array({"base64"})}, {"additionalProperties", false}};
    encoded["properties"]["base64"] = {{"type", "string"}, {"contentEncoding", "base64"}};
    json out = json::object();
    out["oneOf"] = json::array();
    out["oneOf"].push_back({{"type", "string"}});
    out["oneOf"].push_back(std::move(encoded));
    return out;
}

json map_schema(const Field& field, json values) {
    json out = {{"type", type_of("object", field.nullable)}};
    out["additionalProperties"] = std::move(values);
    add_bounds(out, field, "minProperties", "maxProperties");
    return out;
}

json array_schema(const Field& field, json items) {
    json out = {{"type", type_of("array", field.nullable)}};
    out["items"] = std::move(items);
    add_bounds(out, field, "minItems", "maxItems");
    return out;
}

json plain_string() { return {{"type", "string"}}; }

json string_schema(const Field& field) {
    json out = {{"type", type_of("string", field.nullable)}};
    for (const std::string_view value : field.values) out["enum"].push_back(std::string{value});
    if (!field.pattern.empty()) out["pattern"] = std::string{field.pattern};
    add_bounds(out, field, "minLength", "maxLength");
    return out;
}

json number_schema(const Field& field, const char* type) {
    json out = {{"type", type_of(type, field.nullable)}};
    add_bounds(out, field, "minimum", "maximum");
    return out;
}

json object_of(const Field& field) {
    if (field.object != nullptr) return reference(*field.object);
    return {{"type", type_of("object", field.nullable)}};
}

json bare_schema(const Field& field) {
    switch (field.type) {
        case Type::string: return string_schema(field);
        case Type::integer: return number_schema(field, "integer");
        case Type::number: return number_schema(field, "number");
        case Type::boolean: return {{"type", type_of("boolean", field.nullable)}};
        case Type::string_array: return array_schema(field, plain_string());
        case Type::object_array: return array_schema(field, object_of(field));
        case Type::string_map: return map_schema(field, plain_string());
        case Type::file_map: return map_schema(field, file_schema());
        case Type::object: return object_of(field);
        case Type::any: return json::object();
    }
    return json::object();
}

json object_schema(const Schema& schema) {
    json out = {{"type", "object"}, {"properties", json::object()}};
    for (const Field& field : schema.fields) {
        out["properties"][std::string{field.name}] = field_schema(field);
        if (field.required) out["required"].push_back(std::string{field.name});
    }
    if (!schema.open) out["additionalProperties"] = false;
    return out;
}

}  // namespace

json field_schema(const Field& field) {
    json out = bare_schema(field);
    if (!field.description.empty()) out["description"] = std::string{field.description};
    add_default(out, field);
    return out;
}

json reference(const Schema& schema) {
    json out = json::object();
    out["$ref"] = "#/components/schemas/" + std::string{schema.name};
    return out;
}

void Components::add(const Schema& schema) {
    const auto [known, added] = schemas_.try_emplace(std::string{schema.name}, &schema);
    SBX_ASSERT(known->second == &schema);
    if (!added) return;
    for (const Field& field : schema.fields) {
        if (field.object != nullptr) add(*field.object);
    }
}

json Components::json() const {
    nlohmann::json out = nlohmann::json::object();
    for (const auto& [name, schema] : schemas_) out[name] = object_schema(*schema);
    return out;
}

}  // namespace sandboxd::api
