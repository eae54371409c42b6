#include "api/schema.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "api/errors.hpp"
#include "api/json_text.hpp"
#include "api/schema_text.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr std::size_t kNameMax = 4096;  // of a key in a map

std::string kind_of(const json& value) {
    if (value.is_number_float()) return "the number " + value.dump();
    if (value.is_number()) return value.dump();
    if (value.is_string()) return "a string";
    return value.is_null() ? "null" : std::string{"a value of type "} + value.type_name();
}

std::string join(std::string_view path, std::string_view name) {
    std::string out{path};
    if (!out.empty()) out += '.';
    out.append(name.substr(0, 100));
    return out;
}

std::string at_index(std::string_view path, std::size_t index) { return std::string{path} + '[' + std::to_string(index) + ']'; }

Result<void> check_object(const Schema& schema, std::string_view path, const json& value);

Result<void> check_count(const Field& field, std::string_view path, const json& value) {
    const auto size = static_cast<double>(value.size());
    if (size >= field.min && size <= field.max) return {};
    const Field bounds{.name = field.name, .description = {}, .min = field.min, .max = field.max};
    return field_error(path, "a number of entries, " + describe_integer(bounds), std::to_string(value.size()));
}

// They become argv and environment: a NUL would cut them short.
Result<void> check_c_string(std::string_view path, const json& value) {
    if (!value.is_string()) return field_error(path, "a string", kind_of(value));
    if (value.get_ref<const std::string&>().find('\0') != std::string::npos) return field_error(path, "a string without NUL", "one with NUL");
    return {};
}

Result<void> check_array(const Field& field, std::string_view path, const json& value) {
    if (!value.is_array()) return field_error(path, "an array", kind_of(value));
    SBX_CHECK(check_count(field, path, value));
    for (std::size_t i = 0; i < value.size(); ++i) {
        if (field.type == Type::string_array) {
            SBX_CHECK(check_c_string(at_index(path, i), value[i]));
        } else if (field.object != nullptr) {
            SBX_CHECK(check_object(*field.object, at_index(path, i), value[i]));
        }
    }
    return {};
}

Result<void> check_file(std::string_view path, const json& value) {
    if (value.is_string()) return {};
    const bool encoded = value.is_object() && value.size() == 1 && value.contains("base64") && value["base64"].is_string();
    if (!encoded) return field_error(path, "a string or {\"base64\": string}", kind_of(value));
    return {};
}

Result<void> check_map(const Field& field, std::string_view path, const json& value) {
    if (!value.is_object()) return field_error(path, "an object", kind_of(value));
    SBX_CHECK(check_count(field, path, value));
    for (const auto& [name, entry] : value.items()) {
        const std::string where = join(path, name);
        if (name.empty() || name.size() > kNameMax || name.find('\0') != name.npos) return field_error(where, "a name without NUL", "another one");
        if (field.type == Type::string_map) SBX_CHECK(check_c_string(where, entry));
        if (field.type == Type::file_map) SBX_CHECK(check_file(where, entry));
    }
    return {};
}

Result<void> check_integer(const Field& field, std::string_view path, const json& value) {
    // A float is refused however whole it is: 1e3 and 1.0 are no way to write a count.
    if (!value.is_number_integer()) return field_error(path, describe_integer(field), kind_of(value));
    const double size = value.is_number_unsigned() ? static_cast<double>(value.get<std::uint64_t>()) : static_cast<double>(value.get<std::int64_t>());
    if (size < field.min || size > field.max) return field_error(path, describe_integer(field), value.dump());
    return {};
}

Result<void> check_number(const Field& field, std::string_view path, const json& value) {
    if (!value.is_number()) return field_error(path, describe_number(field), kind_of(value));
    const double size = value.get<double>();
    if (!std::isfinite(size) || size < field.min || size > field.max) return field_error(path, describe_number(field), value.dump());
    return {};
}

Result<void> check_value(const Field& field, std::string_view path, const json& value) {
    switch (field.type) {
        case Type::string:
            if (!value.is_string()) return field_error(path, field.values.empty() ? "a string" : list_values(field.values), kind_of(value));
            return check_string(field, path, value.get_ref<const std::string&>());
        case Type::integer: return check_integer(field, path, value);
        case Type::number: return check_number(field, path, value);
        case Type::boolean:
            if (!value.is_boolean()) return field_error(path, "true or false", kind_of(value));
            return {};
        case Type::string_array:
        case Type::object_array: return check_array(field, path, value);
        case Type::string_map:
        case Type::file_map: return check_map(field, path, value);
        case Type::object:
            if (field.object != nullptr) return check_object(*field.object, path, value);
            if (!value.is_object()) return field_error(path, "an object", kind_of(value));
            return {};
        case Type::any: return {};
    }
    return {};
}

Result<void> check_object(const Schema& schema, std::string_view path, const json& value) {
    if (!value.is_object()) return field_error(path.empty() ? "body" : path, "an object", kind_of(value));
    for (auto entry = value.begin(); entry != value.end(); ++entry) {
        const std::string where = join(path, entry.key());
        const auto named = [&](const Field& known) { return known.name == entry.key(); };
        const auto field = std::find_if(schema.fields.begin(), schema.fields.end(), named);
        if (field == schema.fields.end()) return field_error(where, "a known field: " + list_names(schema.fields), "an unknown one");
        SBX_CHECK(check_value(*field, where, *entry));
    }
    for (const Field& field : schema.fields) {
        if (field.required && !value.contains(std::string{field.name})) return field_error(join(path, field.name), "a value", "nothing: the field is required");
    }
    return {};
}

}  // namespace

Result<void> check_json(const json& value, const Schema& schema) { return check_object(schema, "", value); }

Result<json> parse_json(std::string_view text, const Schema& schema) {
    // No body at all asks for nothing but defaults.
    SBX_TRY(json value, parse_json_text(text.empty() ? std::string_view{"{}"} : text));
    SBX_CHECK(check_object(schema, "", value));
    return value;
}

}  // namespace sandboxd::api
