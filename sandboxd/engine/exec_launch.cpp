#include "sandboxd/engine/exec_launch.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <map>
#include <variant>

namespace sandboxd::engine {

namespace {

constexpr std::size_t kMaxStrings = 4000;                    // the init splits into tables of 4096
constexpr std::size_t kMaxText = agent::kMaxMessage - 8192;  // argv, env and cwd together
constexpr std::size_t kMaxFileBytes = 64ULL << 20;
constexpr std::size_t kMaxFiles = 1024;
constexpr std::size_t kMaxCommand = 1024;
constexpr std::uint32_t kKillGraceMs = 2000;
constexpr std::uint32_t kIdLimit = 65534;                    // ids of a sandbox's own range

Error bad(const char* field, std::string why) {
    return Error{Errc::invalid_argument, field, std::move(why)}.fact("field", std::string{field});
}

bool has_nul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

Error above(const char* limit, std::uint64_t asked, std::uint64_t allowed) {
    return Error{Errc::limit_exceeded, "exec", std::string{"more than allowed: "} + limit}
        .fact("limit", std::string{limit})
        .fact("asked", static_cast<std::int64_t>(asked))
        .fact("allowed", static_cast<std::int64_t>(allowed));
}

using Environment = std::map<std::string, std::string>;

Environment default_environment(const ExecRequest& request, const ledger::SandboxRecord& sandbox) {
    Environment env{
        {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/sandboxd/bin"},  // the last: `sudo` where the template has none
        {"HOME", request.user.home},
        {"USER", request.user.name},
        {"LOGNAME", request.user.name},
        {"SHELL", "/bin/bash"},
        {"LANG", "C.UTF-8"},
    };
    if (request.pty) env["TERM"] = "xterm-256color";
    // Numeric libraries start a thread per core of the host, which only makes them slow under a smaller quota.
    const std::string threads = std::to_string(std::max(1U, (sandbox.limits.cpu_milli + 999) / 1000));
    for (const char* name : {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS", "RAYON_NUM_THREADS"}) {
        env[name] = threads;
    }
    // A JVM sizes its heap by sysinfo(2), which tells the host's memory: a quarter of that is more than a sandbox has, and
    // instead of collecting garbage it would be ended by the kernel.
    env["JAVA_TOOL_OPTIONS"] = "-Xmx" + std::to_string(sandbox.limits.memory_bytes >> 21) + "m";
    return env;
}

Result<std::string> environment_block(const ExecRequest& request, const ledger::SandboxRecord& sandbox) {
    Environment env = default_environment(request, sandbox);
    for (const auto& [name, value] : sandbox.env) env[name] = value;
    for (const auto& [name, value] : request.env) env[name] = value;
    if (env.size() > kMaxStrings) return bad("env", "too many variables");
    std::string out;
    for (const auto& [name, value] : env) {
        if (name.empty() || name.find('=') != std::string::npos || has_nul(name)) return bad("env", "a variable's name is empty or has '=' or NUL in it");
        if (has_nul(value)) return bad("env", "the value of " + name + " has a NUL in it");
        out.append(name).append("=").append(value).push_back('\0');
    }
    return out;
}

Result<std::string> argument_block(const std::vector<std::string>& argv) {
    if (argv.empty() || argv.front().empty()) return bad("argv", "names no program");
    if (argv.size() > kMaxStrings) return bad("argv", "too many arguments");
    std::string out;
    for (const std::string& argument : argv) {
        if (has_nul(argument)) return bad("argv", "an argument has a NUL in it");
        out.append(argument).push_back('\0');
    }
    return out;
}

Result<std::string> file_block(const std::vector<FileToWrite>& files) {
    std::size_t size = 0;
    if (files.size() > kMaxFiles) return bad("files", "too many files");
    for (const FileToWrite& file : files) {
        if (file.path.empty() || file.path.size() >= agent::kMaxPath || has_nul(file.path)) return bad("files", "a path is empty, too long or has a NUL in it");
        size += 3 * sizeof(std::uint32_t) + file.path.size() + file.content.size();
        if (size > kMaxFileBytes) return Error{Errc::payload_too_large, "files", "more than 64 MiB; upload them instead"};
    }
    std::string out(size, '\0');
    wire::Writer writer{reinterpret_cast<std::byte*>(out.data()), out.size()};
    for (const FileToWrite& file : files) {
        agent::FileRecord record;
        record.mode = file.mode & 07777;
        record.path = file.path;
        record.content = file.content;
        if (!writer(record)) return Error{Errc::internal, "files", "encoding"};
    }
    return out;
}

Result<std::string> absolute_cwd(const ExecRequest& request) {
    std::string cwd = request.cwd.empty() ? request.user.home : request.cwd;
    if (cwd.front() != '/') cwd = request.user.home + (request.user.home == "/" ? "" : "/") + cwd;
    if (cwd.size() >= agent::kMaxPath || has_nul(cwd)) return bad("cwd", "too long, or a NUL in it");
    return cwd;
}

Result<void> check_ceilings(const ExecRequest& request, const ledger::SandboxRecord& sandbox, const policies::TenantLimits& ceiling) {
    if (request.user.uid >= kIdLimit || request.user.gid >= kIdLimit) return bad("user", "ids are below 65534");
    if (request.user.uid == 0 && !(sandbox.allow_root && ceiling.allow_root)) {
        return Error{Errc::forbidden, "exec", "this sandbox does not allow the user root"}.fact("rule", std::string{"allow_root"});
    }
    if (request.timeout_ms > ceiling.max_exec_ms) return above("timeout_ms", request.timeout_ms, ceiling.max_exec_ms);
    if (request.output_bytes && *request.output_bytes > sandbox.limits.output_bytes) {
        return above("output_bytes", *request.output_bytes, sandbox.limits.output_bytes);
    }
    return {};
}

bool plain(const std::string& text) {
    static constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,+@%";
    return !text.empty() && text.find_first_not_of(kPlain) == std::string::npos;
}

}  // namespace

agent::Exec ExecLaunch::message() const {
    agent::Exec out;
    out.exec = number;
    out.flags = flags;
    out.uid = user.uid;
    out.gid = user.gid;
    out.timeout_ms = timeout_ms;
    out.kill_grace_ms = kKillGraceMs;
    out.rows = rows;
    out.cols = cols;
    out.cwd = cwd;
    out.argv = argv;
    out.env = env;
    return out;
}

Result<ExecLaunch> plan_exec(const ExecRequest& request, const ledger::SandboxRecord& sandbox, const policies::TenantLimits& ceiling,
                             std::uint64_t number) {
    SBX_CHECK(check_ceilings(request, sandbox, ceiling));
    ExecLaunch out;
    out.number = number;
    out.user = request.user;
    SBX_TRY(out.argv, argument_block(request.argv));
    SBX_TRY(out.env, environment_block(request, sandbox));
    SBX_TRY(out.cwd, absolute_cwd(request));
    SBX_TRY(out.files, file_block(request.files));
    if (out.argv.size() + out.env.size() + out.cwd.size() > kMaxText) {
        return Error{Errc::payload_too_large, "exec", "argv, env and cwd are larger than " + std::to_string(kMaxText) + " bytes"};
    }
    out.program = request.argv.front();
    out.command = describe_command(request.argv);
    if (request.pty) out.flags |= agent::kPty;
    if (!request.pty && request.stdin_mode == StdinMode::pipe) out.flags |= agent::kStdin;
    if (!request.files.empty()) out.flags |= agent::kWithFiles;
    out.timeout_ms = request.timeout_ms != 0 ? request.timeout_ms : ceiling.max_exec_ms;
    out.rows = request.rows;
    out.cols = request.cols;
    out.output_bytes = request.output_bytes.value_or(sandbox.limits.output_bytes);
    out.on_output_limit = request.on_output_limit;
    return out;
}

std::string describe_command(const std::vector<std::string>& argv) {
    std::string out;
    for (const std::string& argument : argv) {
        if (out.size() > kMaxCommand) break;
        if (!out.empty()) out += ' ';
        if (plain(argument)) {
            out += argument;
            continue;
        }
        out += '\'';
        for (const char c : std::string_view{argument}.substr(0, kMaxCommand)) out += c == '\'' ? "'\\''" : std::string(1, c);
        out += '\'';
    }
    if (out.size() <= kMaxCommand) return out;
    out.resize(kMaxCommand - 3);
    // Not in the middle of a UTF-8 character.
    while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xC0) == 0x80) out.pop_back();
    if (!out.empty() && static_cast<unsigned char>(out.back()) >= 0xC0) out.pop_back();
    return out + "...";
}

Error exec_failure(Error error, const std::string& program, const std::string& cwd) {
    std::string step;
    for (const auto& [key, value] : error.facts()) {
        if (key == "step" && std::holds_alternative<std::string>(value)) step = std::get<std::string>(value);
    }
    const auto refusal = [&](Errc code, std::string why) { return Error{code, "exec", std::move(why)}.fact("step", step); };
    if (step == "exec" && (error.is_errno(ENOENT) || error.is_errno(ENOTDIR))) {
        return refusal(Errc::command_not_found, program + " is not in the sandbox").fact("command", program);
    }
    if (step == "exec" && error.is_errno(EACCES)) {
        return refusal(Errc::forbidden, program + " is not executable for this user").fact("command", program);
    }
    if (step == "exec" && error.is_errno(ENOEXEC)) {
        return refusal(Errc::invalid_argument, program + " is no program that this machine can run").fact("command", program);
    }
    if (step == "cwd") return refusal(Errc::invalid_argument, "can't change to the folder " + cwd + ": " + error.code().message()).fact("field", std::string{"cwd"});
    if (step == "ids" && error.is_errno(EPERM)) {
        return refusal(Errc::forbidden, "this sandbox does not allow the user root").fact("rule", std::string{"allow_root"});
    }
    if (step == "busy") return refusal(Errc::limit_exceeded, "too many programs of this sandbox are not forgotten yet").fact("limit", std::string{"execs"});
    if (step == "fork" && error.is_errno(EAGAIN)) {
        return refusal(Errc::limit_exceeded, "the sandbox has as many processes as it may").fact("limit", std::string{"pids"});
    }
    if (step == "files") return std::move(error).with("writing the files of the request");
    return error;
}

// ---- what exec.hpp declares ------------------------------------------------------------------------------------------

Result<User> parse_user(std::string_view text) {
    if (text == "user") return User{};
    if (text == "root") return User{0, 0, "root", "/root"};
    const auto number = [](std::string_view digits, std::uint32_t& out) {
        if (digits.empty() || digits.size() > 5 || (digits.size() > 1 && digits.front() == '0')) return false;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
        return error == std::errc{} && end == digits.data() + digits.size() && out < kIdLimit;
    };
    const auto colon = text.find(':');
    User user;
    const bool uid_ok = number(text.substr(0, colon), user.uid);
    user.gid = user.uid;
    if (!uid_ok || (colon != std::string_view::npos && !number(text.substr(colon + 1), user.gid))) {
        return bad("user", "expected \"user\", \"root\", UID or UID:GID, below 65534");
    }
    if (user.uid == 1000) return user;
    user.name = user.uid == 0 ? "root" : std::to_string(user.uid);
    user.home = user.uid == 0 ? "/root" : "/";
    return user;
}

std::string_view to_string(ExecStatus status) noexcept {
    switch (status) {
        case ExecStatus::running: return "running";
        case ExecStatus::exited: return "exited";
        case ExecStatus::signaled: return "signaled";
        case ExecStatus::oom_killed: return "oom_killed";
        case ExecStatus::timed_out: return "timed_out";
        case ExecStatus::limit: return "limit";
        case ExecStatus::lost: return "lost";
    }
    return "lost";
}

}  // namespace sandboxd::engine
