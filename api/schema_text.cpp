#include "api/schema_text.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "api/errors.hpp"

namespace sandboxd::api {

namespace {

std::string number_text(double value) {
    std::array<char, 40> text{};
    const bool whole = value == std::floor(value) && std::abs(value) < 1e15;
    const int size = std::snprintf(text.data(), text.size(), whole ? "%.0f" : "%g", value);
    return {text.data(), static_cast<std::size_t>(size)};
}

std::string bounds(const Field& field) {
    const bool low = field.min != std::numeric_limits<double>::lowest();
    const bool high = field.max != std::numeric_limits<double>::max();
    if (low && high) return " from " + number_text(field.min) + " to " + number_text(field.max);
    if (low) return " of at least " + number_text(field.min);
    if (high) return " of at most " + number_text(field.max);
    return {};
}

}  // namespace

std::string describe_integer(const Field& field) { return "an integer" + bounds(field); }
std::string describe_number(const Field& field) { return "a number" + bounds(field); }

std::string list_values(std::span<const std::string_view> values) {
    std::string out;
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (i != 0) out += i + 1 == values.size() ? " or " : ", ";
        out += values[i];
    }
    return out;
}

std::string list_names(std::span<const Field> fields) {
    std::string out;
    for (const Field& field : fields) out += (out.empty() ? "" : ", ") + std::string{field.name};
    return out.empty() ? "none" : out;
}

Result<void> check_string(const Field& field, std::string_view path, std::string_view text) {
    if (!field.values.empty()) {
        const bool known = std::find(field.values.begin(), field.values.end(), text) != field.values.end();
        if (!known) return field_error(path, list_values(field.values), text);
        return {};
    }
    const auto size = static_cast<double>(text.size());
    if (size < field.min || size > field.max) return field_error(path, "a string with a length" + bounds(field), std::to_string(text.size()) + " bytes");
    return {};
}

}  // namespace sandboxd::api
