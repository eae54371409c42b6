#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "sandboxd/ctl/http.hpp"

namespace sandboxd::ctl {

// The refusal in an answer's body as an Error: its code, message and details. What is no JSON of
// ours (a proxy's page) becomes an error that quotes its beginning.
[[nodiscard]] Error error_of_answer(unsigned status, std::string_view body);
// For a 401: where the key came from or was looked for.
[[nodiscard]] Error explain_unauthorized(Error error, const Target& target);
// {"error":{code, message, details}}, as the API would say it.
[[nodiscard]] nlohmann::json error_json(const Error& error);

// JSON calls. Every status below 300 is a success; anything else is the error that the daemon gave.
class ApiClient {
public:
    explicit ApiClient(Target target) : http_{std::move(target)} {}

    [[nodiscard]] Result<nlohmann::json> get(const std::string& path);
    [[nodiscard]] Result<nlohmann::json> post(const std::string& path, const nlohmann::json& body);
    [[nodiscard]] Result<nlohmann::json> put(const std::string& path, const nlohmann::json& body);
    [[nodiscard]] Result<void> remove(const std::string& path);
    // With other headers, another patience, an upload.
    [[nodiscard]] Result<nlohmann::json> call(const Request& request);
    // A streamed answer: `data` gets the body of a success only.
    [[nodiscard]] Result<Head> stream(const Request& request,
                                      const std::function<Result<void>(std::string_view)>& data);
    // All pages of a list, as one array; at most `most` entries. `path` may have a query.
    [[nodiscard]] Result<nlohmann::json> list(const std::string& path, const std::string& key,
                                              std::size_t most);

    [[nodiscard]] const Target& target() const noexcept { return http_.target(); }

private:
    HttpClient http_;
};

// /v1/sandboxes/ID[/REST], the id escaped.
[[nodiscard]] std::string sandbox_path(std::string_view id, std::string_view rest = {});

// Cuts a stream of bytes into lines.
class LineSplitter {
public:
    // Calls `line` for each line that is complete, without its end. What is longer than 64 MiB is
    // an error.
    [[nodiscard]] Result<void> feed(std::string_view bytes,
                                    const std::function<Result<void>(std::string_view)>& line);
    [[nodiscard]] const std::string& rest() const noexcept { return rest_; }

private:
    std::string rest_;
};

}  // namespace sandboxd::ctl
