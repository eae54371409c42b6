#include "api/exec_request.hpp"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "api/errors.hpp"
#include "api/exec_params.hpp"

namespace sandboxd::api {

namespace {

using nlohmann::json;

constexpr std::uint64_t kDefaultTimeoutMs = 60'000;

Result<std::vector<std::string>> parse_program(const json& body) {
    const bool argv = body.contains("argv");
    if (argv == body.contains("shell")) {
        return field_error("argv", "exactly one of argv and shell", argv ? "both" : "neither");
    }
    std::vector<std::string> program;
    if (argv) {
        program = body["argv"].get<std::vector<std::string>>();
        if (program.empty() || program[0].empty()) return field_error("argv", "a program", "nothing");
    } else {
        program = {"bash", "-c", body["shell"].get<std::string>()};
    }
    for (const std::string& word : program) {
        if (word.find('\0') != std::string::npos) return field_error(argv ? "argv" : "shell", "text without NUL", "NUL");
    }
    return program;
}

Result<void> parse_output_limit(const json& body, const policies::Limits& sandbox, engine::ExecRequest& request) {
    if (body.contains("output_mb")) {
        const auto asked = body["output_mb"].get<std::uint64_t>();
        const std::uint64_t allowed = sandbox.output_bytes >> 20;
        if (asked > allowed) {
            return Error{Errc::limit_exceeded, "output_mb", "the sandbox's limits.output_mb is " + std::to_string(allowed)}
                .fact("limit", "output_mb")
                .fact("asked", static_cast<std::int64_t>(asked))
                .fact("allowed", static_cast<std::int64_t>(allowed));
        }
        request.output_bytes = asked << 20;
    }
    if (body.value("on_output_limit", "truncate") == "block") request.on_output_limit = engine::OverLimit::block;
    return Result<void>{};
}

}  // namespace

Result<std::string> parse_content(std::string_view field, const json& value) {
    if (value.is_string()) return value.get<std::string>();
    if (!value.is_object() || value.size() != 1 || !value.contains("base64") || !value["base64"].is_string()) {
        return field_error(field, R"(text or {"base64": text})", value.type_name());
    }
    auto bytes = from_base64(value["base64"].get_ref<const std::string&>());
    if (!bytes) return field_error(std::string{field} + ".base64", "standard base64 with padding", "something else");
    return *std::move(bytes);
}

Result<std::vector<std::pair<std::string, std::string>>> parse_env(const json& body) {
    std::vector<std::pair<std::string, std::string>> env;
    if (!body.contains("env")) return env;
    for (const auto& [name, value] : body["env"].items()) {
        const std::string& text = value.get_ref<const std::string&>();
        const bool bad_name = name.empty() || name.find('=') != std::string::npos || name.find('\0') != std::string::npos;
        if (bad_name) return field_error("env", "names without = and NUL", name);
        if (text.find('\0') != std::string::npos) return field_error("env." + name, "text without NUL", "NUL");
        env.emplace_back(name, text);
    }
    return env;
}

Result<std::optional<std::string>> parse_input(const json& body) {
    if (!body.contains("stdin")) return std::optional<std::string>{};
    SBX_TRY(std::string input, parse_content("stdin", body["stdin"]));
    return std::optional<std::string>{std::move(input)};
}

Result<std::vector<engine::FileToWrite>> parse_files(const json& body) {
    std::vector<engine::FileToWrite> files;
    if (!body.contains("files")) return files;
    for (const auto& [path, value] : body["files"].items()) {
        const std::string field = "files." + path;
        SBX_CHECK(check_path(field, path));
        if (path.back() == '/') return field_error(field, "the path of a file", "one that ends in /");
        engine::FileToWrite file;
        file.path = path;
        SBX_TRY(file.content, parse_content(field, value));
        files.push_back(std::move(file));
    }
    return files;
}

Result<std::uint64_t> parse_timeout(const json& body, std::uint64_t fallback, const policies::TenantLimits& ceiling) {
    const auto asked = body.value("timeout_ms", fallback);
    // A default is never the caller's fault.
    if (!body.contains("timeout_ms")) return std::min(asked, ceiling.max_exec_ms);
    if (asked <= ceiling.max_exec_ms) return asked;
    return Error{Errc::limit_exceeded, "timeout_ms", "the tenant's ceiling is " + std::to_string(ceiling.max_exec_ms) + " ms"}
        .fact("limit", "timeout_ms")
        .fact("asked", static_cast<std::int64_t>(std::min<std::uint64_t>(asked, std::numeric_limits<std::int64_t>::max())))
        .fact("allowed", static_cast<std::int64_t>(ceiling.max_exec_ms));
}

Encoding parse_encoding(const json& body) {
    const std::string text = body.value("encoding", "text");
    if (text == "binary") return Encoding::binary;
    return text == "base64" ? Encoding::base64 : Encoding::text;
}

Result<ExecOrder> parse_exec(const json& body, const policies::TenantLimits& ceiling, const policies::Limits& sandbox) {
    ExecOrder order;
    engine::ExecRequest& request = order.request;
    SBX_TRY(request.argv, parse_program(body));
    SBX_TRY(request.env, parse_env(body));
    request.cwd = body.value("cwd", "");
    if (!request.cwd.empty()) SBX_CHECK(check_path("cwd", request.cwd));
    if (body.contains("user")) {
        SBX_TRY(request.user, parse_user(body["user"].get_ref<const std::string&>()));
    }
    order.detach = body.value("detach", false);
    SBX_TRY(request.timeout_ms, parse_timeout(body, order.detach ? 0 : kDefaultTimeoutMs, ceiling));
    request.pty = body.value("pty", false);
    request.rows = body.value("rows", request.rows);
    request.cols = body.value("cols", request.cols);
    SBX_CHECK(parse_output_limit(body, sandbox, request));
    SBX_TRY(order.input, parse_input(body));
    request.stdin_mode = order.input ? engine::StdinMode::pipe : engine::StdinMode::closed;
    order.encoding = parse_encoding(body);
    order.kill_on_disconnect = body.value("kill_on_disconnect", false);
    order.acknowledged = body.value("acks", false);
    return order;
}

}  // namespace sandboxd::api
