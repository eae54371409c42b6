#include "api/exec_answer.hpp"

#include <nlohmann/json.hpp>
#include <utility>

#include "api/errors.hpp"
#include "api/json.hpp"
#include "sandboxd/core/clock.hpp"
#include "sandboxd/core/utf8.hpp"

namespace sandboxd::api {

namespace {

using engine::ExecStatus;
using nlohmann::json;

std::string timeout_message(const ExecFrame& frame) {
    if (!frame.timeout_ms) return "timed out: raise timeout_ms";
    if (*frame.timeout_ms == 0) return "timed out at the tenant's ceiling for one program";
    return "timed out after " + std::to_string(*frame.timeout_ms) + " ms: raise timeout_ms";
}

// Each message names the limit and the field that raises it: an agent can act on nothing less.
std::optional<std::pair<std::string, std::string>> failure_of(const engine::Exec& exec, const ExecFrame& frame) {
    using Failure = std::pair<std::string, std::string>;
    switch (exec.status()) {
        case ExecStatus::running: return std::nullopt;
        case ExecStatus::exited:
            if (exec.exit_code() == 0) return std::nullopt;
            return Failure{"ExitCode", "exited with code " + std::to_string(exec.exit_code()) + ": stderr says why"};
        case ExecStatus::signaled:
            return Failure{"Signal", "ended by signal " + std::to_string(exec.signal()) +
                                         ": it crashed, or something killed it"};
        case ExecStatus::oom_killed:
            return Failure{"OutOfMemory", "out of memory: limit " + std::to_string(frame.limits.memory_bytes >> 20) +
                                              " MiB, raise limits.memory_mb"};
        case ExecStatus::timed_out: return Failure{"Timeout", timeout_message(frame)};
        case ExecStatus::limit: return Failure{"Limit", "ended at a limit of the sandbox: raise it in limits"};
        case ExecStatus::lost:
            return Failure{"Lost", "the sandbox was lost while it ran, its end is not known: run it again in a new one"};
    }
    return std::nullopt;
}

json denials_json(const std::vector<policies::Denial>& denials) {
    json out = json::array();
    for (const policies::Denial& one : denials) {
        out.push_back({{"kind", one.kind}, {"what", one.what}, {"rule", one.rule}, {"hint", one.hint}, {"count", one.count}});
    }
    return out;
}

void add_figures(json& answer, const std::string& name, const engine::Output& output) {
    answer[name + "_bytes"] = output.size() + output.dropped();
    answer[name + "_truncated"] = output.truncated();
    if (output.truncated()) answer[name + "_dropped"] = output.dropped();
}

void add_stream(json& answer, const std::string& name, InlineOutput output, Encoding encoding, const std::string& rest) {
    if (output.cut && encoding == Encoding::text) output.bytes.resize(utf8::complete_prefix(output.bytes));
    const bool as_it_is = encoding == Encoding::text && utf8::is_valid(output.bytes);
    answer[name] = as_it_is ? std::move(output.bytes) : encode(output.bytes, encoding);
    if (!output.cut) return;
    answer[name + "_truncated"] = true;
    if (!rest.empty()) answer[name + "_path"] = rest + "/output?stream=" + name;
}

}  // namespace

std::string exec_path(const SandboxId& sandbox, const ExecId& exec) {
    return "/v1/sandboxes/" + sandbox.str() + "/exec/" + exec.str();
}

json exec_facts(engine::Exec& exec, const ExecFrame& frame) {
    const bool running = exec.status() == ExecStatus::running;
    const policies::Denials denials = exec.denials();
    json answer = {
        {"sandbox_id", frame.sandbox.str()},
        {"exec_id", exec.id().str()},
        {"status", engine::to_string(exec.status())},
        {"exit_code", running ? json(nullptr) : json(exec.exit_code())},
        {"results", json::array()},
        {"denials", denials_json(denials.list)},
        {"usage", usage_json(frame.usage.value_or(exec.usage()))},
    };
    if (denials.others > 0) answer["denials_unlisted"] = denials.others;
    if (exec.signal() != 0) answer["signal"] = exec.signal();
    add_figures(answer, "stdout", exec.out());
    add_figures(answer, "stderr", exec.err());
    if (const auto failure = failure_of(exec, frame)) {
        answer["error"] = {{"name", failure->first}, {"message", failure->second}};
    }
    return answer;
}

void add_output(json& answer, engine::Exec& exec, const ExecFrame& frame, InlineOutput out, InlineOutput err,
                Encoding encoding, Rest rest) {
    const std::string path = rest == Rest::kept ? exec_path(frame.sandbox, exec.id()) : std::string{};
    add_stream(answer, "stdout", std::move(out), encoding, path);
    add_stream(answer, "stderr", std::move(err), encoding, path);
    if (encoding == Encoding::base64) answer["encoding"] = "base64";
}

void add_description(json& answer, const engine::Exec& exec) {
    answer["command"] = encode(exec.command(), Encoding::text);
    answer["cwd"] = encode(exec.cwd(), Encoding::text);
    answer["user"] = exec.user();
    answer["pty"] = exec.pty();
    answer["started_at"] = to_rfc3339(exec.started());
    answer["ended_at"] = nullptr;
    if (const auto ended = exec.ended()) answer["ended_at"] = to_rfc3339(*ended);
}

json error_event(const Error& error) { return {{"type", "error"}, {"error", error_json(error)}}; }

}  // namespace sandboxd::api
