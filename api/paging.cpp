#include "api/paging.hpp"

#include <charconv>
#include <optional>
#include <string>

#include "api/errors.hpp"
#include "api/schema_text.hpp"

namespace sandboxd::api {

Result<std::size_t> page_limit(const Exchange& exchange) {
    const std::optional<std::string> text = exchange.query("limit");
    if (!text) return kPageDefault;
    std::size_t limit = 0;
    const char* const last = text->data() + text->size();
    const auto [end, failure] = std::from_chars(text->data(), last, limit);
    if (failure != std::errc{} || end != last || limit < 1 || limit > kPageMost) {
        return field_error("limit", describe_integer(kLimitParameter), *text);
    }
    return limit;
}

Error cursor_error(std::string_view cursor) { return field_error("cursor", "next_cursor of the page before, of the same list", cursor); }

}  // namespace sandboxd::api
