#include "sandboxd/ctl/api_client.hpp"

#include <nlohmann/json.hpp>

namespace sandboxd::ctl {

namespace {

using nlohmann::json;

constexpr std::size_t kAnswerMax = std::size_t{256} << 20;
constexpr std::size_t kLineMax = std::size_t{64} << 20;
constexpr std::size_t kQuoted = 200;

Errc errc_of(std::string_view code, unsigned status) {
    for (int value = static_cast<int>(Errc::invalid_argument);
         value <= static_cast<int>(Errc::internal); ++value) {
        if (to_string(static_cast<Errc>(value)) == code) return static_cast<Errc>(value);
    }
    // A code of a newer daemon: its class is still known.
    if (status == 401) return Errc::unauthorized;
    if (status == 404) return Errc::not_found;
    return status < 500 ? Errc::invalid_argument : Errc::unavailable;
}

Error unknown_answer(unsigned status, std::string_view body) {
    std::string quote{body.substr(0, kQuoted)};
    for (char& c : quote) {
        if (static_cast<unsigned char>(c) < 0x20) c = ' ';
    }
    return Error{errc_of("", status),
                 "the answer was HTTP " + std::to_string(status) + ", not one of sandboxd's",
                 quote.empty() ? "is SANDBOXD_URL the address of a daemon?" : quote};
}

}  // namespace

Error error_of_answer(unsigned status, std::string_view body) {
    const json answer = json::parse(body, nullptr, false);
    const bool ours = answer.is_object() && answer.contains("error") && answer["error"].is_object();
    if (!ours) return unknown_answer(status, body);
    const json& refusal = answer["error"];
    const auto text = [&](const char* name) {
        return refusal.contains(name) && refusal[name].is_string()
                   ? refusal[name].get<std::string>()
                   : std::string{};
    };
    Error error{errc_of(text("code"), status), text("message")};
    if (refusal.contains("details") && refusal["details"].is_object()) {
        for (const auto& [name, value] : refusal["details"].items()) {
            if (value.is_number_integer()) {
                error = std::move(error).fact(name, value.get<std::int64_t>());
            } else {
                error = std::move(error).fact(
                    name, value.is_string() ? value.get<std::string>() : value.dump());
            }
        }
    }
    return error;
}

Error explain_unauthorized(Error error, const Target& target) {
    if (!error.is(Errc::unauthorized)) return error;
    std::string cure = "give a key with --key or SANDBOXD_API_KEY";
    if (target.key.empty() && !target.key_note.empty()) cure += " (" + target.key_note + ")";
    if (!target.key.empty()) cure = "the key that was sent is not one of this daemon's: " + cure;
    return Error{Errc::unauthorized, to_string(target.address) + ": " + error.message(), cure};
}

json error_json(const Error& error) {
    json details = json::object();
    for (const auto& [name, value] : error.facts()) {
        std::visit([&](const auto& fact) { details[name] = fact; }, value);
    }
    return {{"error",
             {{"code", to_string(error.errc())},
              {"message", error.message()},
              {"details", std::move(details)}}}};
}

Result<Head> ApiClient::stream(const Request& request,
                               const std::function<Result<void>(std::string_view)>& data) {
    std::string refusal;
    bool success = false;
    Receiver receiver;
    receiver.head = [&](const Head& head) {
        success = head.status < 300;
        return Result<void>{};
    };
    receiver.data = [&](std::string_view bytes) -> Result<void> {
        if (success) return data(bytes);
        if (refusal.size() < kQuoted * 1024) refusal += bytes;
        return Result<void>{};
    };
    SBX_TRY(Head head, http_.exchange(request, receiver));
    if (!success)
        return explain_unauthorized(error_of_answer(head.status, refusal), http_.target());
    return head;
}

Result<json> ApiClient::call(const Request& request) {
    std::string body;
    const auto collect = [&](std::string_view bytes) -> Result<void> {
        if (body.size() + bytes.size() > kAnswerMax)
            return Error{Errc::payload_too_large, "answer", "larger than 256 MiB"};
        body += bytes;
        return Result<void>{};
    };
    SBX_TRY(const Head head, stream(request, collect));
    if (body.empty()) return json::object();
    json answer = json::parse(body, nullptr, false);
    if (answer.is_discarded()) return unknown_answer(head.status, body);
    return answer;
}

Result<json> ApiClient::get(const std::string& path) {
    Request request;
    request.path = path;
    return call(request);
}

Result<json> ApiClient::post(const std::string& path, const json& body) {
    Request request;
    request.method = "POST";
    request.path = path;
    request.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
    return call(request);
}

Result<json> ApiClient::put(const std::string& path, const json& body) {
    Request request;
    request.method = "PUT";
    request.path = path;
    request.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
    return call(request);
}

Result<void> ApiClient::remove(const std::string& path) {
    Request request;
    request.method = "DELETE";
    request.path = path;
    SBX_CHECK(call(request));
    return Result<void>{};
}

Result<json> ApiClient::list(const std::string& path, const std::string& key, std::size_t most) {
    json all = json::array();
    std::string cursor;
    const std::string join = path.find('?') == std::string::npos ? "?" : "&";
    while (true) {
        SBX_TRY(json page,
                get(cursor.empty() ? path : path + join + "cursor=" + percent_encode(cursor)));
        if (!page.is_object() || !page.contains(key) || !page[key].is_array()) {
            return Error{Errc::protocol_error, "the answer to " + path,
                         "has no list \"" + key + '"'};
        }
        for (json& entry : page[key]) {
            if (all.size() == most) return all;
            all.push_back(std::move(entry));
        }
        const auto next = page.find("next_cursor");
        if (next == page.end() || !next->is_string() || *next == cursor) return all;
        cursor = next->get<std::string>();
    }
}

std::string sandbox_path(std::string_view id, std::string_view rest) {
    std::string path = "/v1/sandboxes/" + percent_encode(id);
    if (!rest.empty()) path += '/' + std::string{rest};
    return path;
}

Result<void> LineSplitter::feed(std::string_view bytes,
                                const std::function<Result<void>(std::string_view)>& line) {
    while (true) {
        const std::size_t end = bytes.find('\n');
        if (end == std::string_view::npos) break;
        if (rest_.empty()) {
            SBX_CHECK(line(bytes.substr(0, end)));
        } else {
            rest_ += bytes.substr(0, end);
            const std::string whole = std::exchange(rest_, {});
            SBX_CHECK(line(whole));
        }
        bytes.remove_prefix(end + 1);
    }
    if (rest_.size() + bytes.size() > kLineMax)
        return Error{Errc::protocol_error, "stream", "a line of more than 64 MiB"};
    rest_ += bytes;
    return Result<void>{};
}

}  // namespace sandboxd::ctl
