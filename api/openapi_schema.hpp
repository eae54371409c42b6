#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "api/schema.hpp"

namespace sandboxd::api {

// The JSON Schema of one field, with its description, bounds and default.
[[nodiscard]] nlohmann::json field_schema(const Field& field);

// Components by name: a schema and all that it refers to. Two different schemas of one name are a broken invariant.
class Components {
public:
    void add(const Schema& schema);
    [[nodiscard]] nlohmann::json json() const;

private:
    std::map<std::string, const Schema*> schemas_;
};

[[nodiscard]] nlohmann::json reference(const Schema& schema);  // {"$ref": "#/components/schemas/NAME"}

}  // namespace sandboxd::api
