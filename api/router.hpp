#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/route.hpp"
#include "sandboxd/core/result.hpp"

namespace sandboxd::api {

using Pairs = std::vector<std::pair<std::string, std::string>>;

// A request target, decoded. No segment is empty (but the last: a trailing slash), "." or "..", or holds a slash or NUL.
struct Target {
    std::string path;
    std::vector<std::string> segments;
    Pairs query;  // in the order of the request
};

// Origin form, or absolute form with its authority left out. invalid_argument for anything that two readers could
// understand in two ways: bad or doubled-up percent-encoding, encoded slashes, dot segments, control characters.
[[nodiscard]] Result<Target> parse_target(std::string_view text);

struct Match {
    const Route* route = nullptr;  // null: no such path, or not by this method
    Pairs params;
    std::string allow;             // the path's methods, when only the method is wrong
};

class Router {
public:
    explicit Router(std::span<const Route> routes);
    // HEAD is served by GET's route.
    [[nodiscard]] Match find(std::string_view method, const Target& target) const;

private:
    struct Entry {
        const Route* route;
        std::vector<std::string_view> segments;
    };
    std::vector<Entry> entries_;
};

// Against Route::query: known, once each, of the right type and in range; required ones present. A field whose name
// ends in ".*" stands for every name with that prefix.
[[nodiscard]] Result<void> check_query(const Route& route, const Pairs& query);

}  // namespace sandboxd::api
