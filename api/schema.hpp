#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string_view>

#include "sandboxd/core/result.hpp"

namespace sandboxd::api {

struct Schema;

enum class Type {
    string, integer, boolean,
    number,        // decimals such as cpus: 0.5
    string_array,  // argv
    string_map,    // env, metadata
    object,        // `object` says which
    object_array,
    file_map,      // path -> text or {"base64": text}
    any,
};

// One field of a JSON object or one query parameter. Used twice: to check requests and to write the OpenAPI document.
struct Field {
    std::string_view name;
    Type type = Type::string;
    bool required = false;
    std::string_view description = {};
    double min = std::numeric_limits<double>::lowest();   // of a number; of the length of a string, array or map
    double max = std::numeric_limits<double>::max();
    std::span<const std::string_view> values = {};        // the only strings allowed
    const Schema* object = nullptr;
    std::string_view pattern = {};                        // for the document only
    std::string_view default_text = {};                   // for the document only
    bool nullable = false;                                // for the document only: an answer may say null
};

struct Schema {
    std::string_view name;  // of the OpenAPI component
    std::span<const Field> fields;
    bool open = false;      // responses may have more fields; requests never
};

// The body as JSON that satisfies the schema: every present field is known, of its type and in range, every required
// one is present. invalid_argument with facts field, expected and got; the message names the field by its path
// ("limits.memory_mb"). Depth and size of the text are bounded.
[[nodiscard]] Result<nlohmann::json> parse_json(std::string_view text, const Schema& schema);

// The same for JSON that is parsed already.
[[nodiscard]] Result<void> check_json(const nlohmann::json& value, const Schema& schema);

}  // namespace sandboxd::api
