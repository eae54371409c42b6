#include "api/exec_params.hpp"

#include <csignal>

#include <array>
#include <charconv>
#include <limits>

#include "api/errors.hpp"

namespace sandboxd::api {

namespace {

constexpr std::size_t kShown = 64;

template <class T>
bool parse_number(std::string_view text, T& value, int base = 10) noexcept {
    if (text.empty() || text.front() == '-' || text.front() == '+') return false;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    return code == std::errc{} && end == text.data() + text.size();
}

struct NamedSignal {
    std::string_view name;
    int number;
};

constexpr std::array kSignals{
    NamedSignal{"HUP", SIGHUP},   NamedSignal{"INT", SIGINT},     NamedSignal{"QUIT", SIGQUIT},
    NamedSignal{"ABRT", SIGABRT}, NamedSignal{"KILL", SIGKILL},   NamedSignal{"USR1", SIGUSR1},
    NamedSignal{"USR2", SIGUSR2}, NamedSignal{"PIPE", SIGPIPE},   NamedSignal{"ALRM", SIGALRM},
    NamedSignal{"TERM", SIGTERM}, NamedSignal{"CHLD", SIGCHLD},   NamedSignal{"CONT", SIGCONT},
    NamedSignal{"STOP", SIGSTOP}, NamedSignal{"TSTP", SIGTSTP},   NamedSignal{"TTIN", SIGTTIN},
    NamedSignal{"TTOU", SIGTTOU}, NamedSignal{"WINCH", SIGWINCH},
};

}  // namespace

Result<engine::ExecPtr> exec_of(const Exchange& exchange, engine::Sandbox& sandbox) {
    const std::string_view text = exchange.param("exec_id");
    if (!exec_number(text)) return Error{Errc::not_found, "exec", std::string{text.substr(0, kShown)}};
    return sandbox.find_exec(ExecId::trusted(std::string{text}));
}

Result<std::uint64_t> query_uint(const Exchange& exchange, std::string_view name, std::uint64_t fallback,
                                 std::uint64_t min, std::uint64_t max) {
    const auto text = exchange.query(name);
    if (!text) return fallback;
    std::uint64_t value = 0;
    if (parse_number(*text, value) && value >= min && value <= max) return value;
    std::string expected = "an integer of at least " + std::to_string(min);
    if (max != std::numeric_limits<std::uint64_t>::max()) expected += " and at most " + std::to_string(max);
    return field_error(name, expected, *text);
}

Result<bool> query_flag(const Exchange& exchange, std::string_view name) {
    const auto text = exchange.query(name);
    if (!text || *text == "false" || *text == "0") return false;
    if (text->empty() || *text == "true" || *text == "1") return true;
    return field_error(name, "true or false", *text);
}

Result<engine::User> query_user(const Exchange& exchange) {
    const auto text = exchange.query("user");
    if (!text) return engine::User{};
    return parse_user(*text);
}

Result<engine::User> parse_user(std::string_view text) {
    if (auto user = engine::parse_user(text)) return user;
    return field_error("user", "user, root, UID or UID:GID with ids below 65534", text);
}

Result<Encoding> query_encoding(const Exchange& exchange) {
    const auto text = exchange.query("encoding");
    if (!text || *text == "text") return Encoding::text;
    if (*text == "base64") return Encoding::base64;
    return field_error("encoding", "text or base64", *text);
}

Result<std::string> query_path(const Exchange& exchange) {
    auto path = exchange.query("path");
    if (!path) return field_error("path", "a path", "nothing");
    SBX_CHECK(check_path("path", *path));
    return *std::move(path);
}

Result<void> check_path(std::string_view field, std::string_view path) {
    if (path.empty()) return field_error(field, "a path", "an empty one");
    if (path.size() >= 4096) return field_error(field, "a path of less than 4096 bytes", std::to_string(path.size()));
    if (path.find('\0') != std::string_view::npos) return field_error(field, "a path without NUL", "one with NUL");
    return Result<void>{};
}

Result<std::uint32_t> parse_mode(std::string_view field, std::string_view text) {
    std::uint32_t mode = 0;
    if (text.size() <= 5 && parse_number(text, mode, 8) && mode <= 07777) return mode;
    return field_error(field, "permission bits in octal such as 0644", text);
}

Result<int> parse_signal(std::string_view field, std::string_view text) {
    int number = 0;
    if (parse_number(text, number) && number >= 1 && number <= 64) return number;
    std::string_view name = text;
    if (name.starts_with("SIG")) name.remove_prefix(3);
    for (const NamedSignal& signal : kSignals) {
        if (signal.name == name) return signal.number;
    }
    return field_error(field, "a signal's name such as TERM, or its number", text);
}

Result<engine::SignalScope> parse_scope(std::string_view field, std::string_view text) {
    if (text == "process") return engine::SignalScope::process;
    if (text == "group") return engine::SignalScope::group;
    if (text == "tree") return engine::SignalScope::tree;
    return field_error(field, "process, group or tree", text);
}

asio::awaitable<Result<void>> gone(Exchange& exchange) {
    co_await exchange.client_gone();
    co_return Result<void>{};
}

}  // namespace sandboxd::api
