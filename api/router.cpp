#include "api/router.hpp"

#include <algorithm>
#include <charconv>

#include "api/errors.hpp"
#include "api/schema_text.hpp"

namespace sandboxd::api {

namespace {

constexpr std::size_t kQueryMax = 64;  // parameters

int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

Error bad_target(std::string_view why) { return Error{Errc::invalid_argument, "request target", std::string{why}}; }

enum class Plus { literal, space };  // '+' is a space in a query only (HTML forms, and every client's encoder)

Result<std::string> decode(std::string_view text, Plus plus) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        if (byte <= ' ' || byte == 0x7f) return bad_target("a control character or space must be percent-encoded");
        if (text[i] == '+' && plus == Plus::space) {
            out += ' ';
        } else if (text[i] != '%') {
            out += text[i];
        } else {
            if (i + 2 >= text.size() || hex(text[i + 1]) < 0 || hex(text[i + 2]) < 0) return bad_target("% must be followed by two hex digits");
            const char value = static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
            if (value == '\0') return bad_target("a NUL byte");
            out += value;
            i += 2;
        }
    }
    return out;
}

std::vector<std::string_view> split(std::string_view text, char at) {
    std::vector<std::string_view> parts;
    while (true) {
        const auto end = text.find(at);
        parts.push_back(text.substr(0, end));
        if (end == text.npos) return parts;
        text.remove_prefix(end + 1);
    }
}

Result<std::vector<std::string>> parse_path(std::string_view path) {
    std::vector<std::string> segments;
    const auto raw = split(path.substr(1), '/');
    for (std::size_t i = 0; i < raw.size(); ++i) {
        SBX_TRY(std::string segment, decode(raw[i], Plus::literal));
        if (segment == "." || segment == "..") return bad_target("dot segments are not followed");
        if (segment.find('/') != segment.npos) return bad_target("an encoded slash");
        if (segment.empty() && i + 1 < raw.size()) return bad_target("an empty path segment");
        segments.push_back(std::move(segment));
    }
    return segments;
}

Result<Pairs> parse_query(std::string_view text) {
    Pairs query;
    for (const std::string_view part : split(text, '&')) {
        if (part.empty()) continue;
        if (query.size() == kQueryMax) return bad_target("too many query parameters");
        const auto equals = part.find('=');
        SBX_TRY(std::string name, decode(part.substr(0, equals), Plus::space));
        SBX_TRY(std::string value, decode(equals == part.npos ? std::string_view{} : part.substr(equals + 1), Plus::space));
        query.emplace_back(std::move(name), std::move(value));
    }
    return query;
}

bool is_param(std::string_view segment) { return segment.size() > 2 && segment.front() == '{' && segment.back() == '}'; }

bool fits(const std::vector<std::string_view>& pattern, const std::vector<std::string>& segments) {
    if (pattern.size() != segments.size()) return false;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        if (is_param(pattern[i]) ? segments[i].empty() : pattern[i] != segments[i]) return false;
    }
    return true;
}

bool names(const Field& field, std::string_view name) {
    if (!field.name.ends_with(".*")) return field.name == name;
    const std::string_view prefix = field.name.substr(0, field.name.size() - 1);
    return name.size() > prefix.size() && name.starts_with(prefix);
}

Result<void> check_parameter(const Field& field, const std::string& name, const std::string& value) {
    if (field.type == Type::boolean) {
        if (value != "true" && value != "false") return field_error(name, "true or false", value);
        return {};
    }
    if (field.type != Type::integer) return check_string(field, name, value);
    std::int64_t number = 0;
    const auto [end, failure] = std::from_chars(value.data(), value.data() + value.size(), number);
    const bool whole = failure == std::errc{} && end == value.data() + value.size();
    const auto size = static_cast<double>(number);
    if (!whole || size < field.min || size > field.max) return field_error(name, describe_integer(field), value);
    return {};
}

}  // namespace

Result<Target> parse_target(std::string_view text) {
    for (const std::string_view scheme : {"http://", "https://"}) {
        if (!text.starts_with(scheme)) continue;
        const auto slash = text.find('/', scheme.size());
        text = slash == text.npos ? std::string_view{"/"} : text.substr(slash);
    }
    if (!text.starts_with('/')) return bad_target("must start with a slash");
    if (text.find('#') != text.npos) return bad_target("a fragment is the client's own");
    const auto question = text.find('?');
    Target target;
    SBX_TRY(target.segments, parse_path(text.substr(0, question)));
    if (question != text.npos) {
        SBX_TRY(target.query, parse_query(text.substr(question + 1)));
    }
    for (const std::string& segment : target.segments) target.path += '/' + segment;
    return target;
}

Router::Router(std::span<const Route> routes) {
    for (const Route& route : routes) entries_.push_back({&route, split(route.pattern.substr(1), '/')});
    // A literal segment before a parameter, wherever the rows stand: "exec/ws" is no exec's id.
    const auto literals_first = [](const Entry& a, const Entry& b) {
        return std::lexicographical_compare(a.segments.begin(), a.segments.end(), b.segments.begin(), b.segments.end(),
                                            [](auto x, auto y) { return is_param(x) < is_param(y); });
    };
    std::stable_sort(entries_.begin(), entries_.end(), literals_first);
}

Match Router::find(std::string_view method, const Target& target) const {
    const std::string_view wanted = method == "HEAD" ? "GET" : method;
    Match match;
    for (const Entry& entry : entries_) {
        if (!fits(entry.segments, target.segments)) continue;
        if (entry.route->method != wanted) {
            match.allow += (match.allow.empty() ? "" : ", ") + std::string{entry.route->method};
            continue;
        }
        match.route = entry.route;
        for (std::size_t i = 0; i < entry.segments.size(); ++i) {
            const std::string_view name = entry.segments[i];
            if (is_param(name)) match.params.emplace_back(name.substr(1, name.size() - 2), target.segments[i]);
        }
        return match;
    }
    return match;
}

Result<void> check_query(const Route& route, const Pairs& query) {
    for (auto parameter = query.begin(); parameter != query.end(); ++parameter) {
        const auto& [name, value] = *parameter;
        const auto same = [&](const auto& earlier) { return earlier.first == parameter->first; };
        if (std::any_of(query.begin(), parameter, same)) return field_error(name, "the query parameter once", "it twice");
        const auto fitting = [&](const Field& field) { return names(field, parameter->first); };
        const auto field = std::find_if(route.query.begin(), route.query.end(), fitting);
        if (field == route.query.end()) return field_error(name, "a known query parameter: " + list_names(route.query), "an unknown one");
        SBX_CHECK(check_parameter(*field, name, value));
    }
    for (const Field& field : route.query) {
        const auto same = [&](const auto& parameter) { return names(field, parameter.first); };
        if (field.required && std::none_of(query.begin(), query.end(), same)) return field_error(field.name, "a query parameter", "nothing: it is required");
    }
    return {};
}

}  // namespace sandboxd::api
