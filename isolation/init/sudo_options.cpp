#include "isolation/init/sudo_options.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

namespace sandboxd::init {

namespace {

char g_file[64 * 1024];

struct LongOption {
    const char* name;
    char letter;
};
constexpr LongOption kLong[] = {{"user", 'u'},         {"group", 'g'},           {"login", 'i'},           {"shell", 's'},   {"set-home", 'H'},
                                {"list", 'l'},         {"validate", 'v'},        {"reset-timestamp", 'k'}, {"stdin", 'S'},   {"remove-timestamp", 'K'},
                                {"prompt", 'p'},       {"non-interactive", 'n'}, {"chdir", 'D'},           {"askpass", 'A'}, {"preserve-groups", 'P'},
                                {"close-from", 'C'},   {"version", 'V'},         {"help", 'h'},            {"preserve-env", 'E'}};
constexpr std::string_view kWithValue = "ugpDC";

// No password is ever asked for, so what is about asking is taken and means nothing.
bool take(char letter, const char* value, SudoOptions& out) {
    using Mode = SudoOptions::Mode;
    switch (letter) {
        case 'u': out.user = value; return true;
        case 'g': out.group = value; return true;
        case 'D': out.folder = value; return true;
        case 'E': out.preserve_all = true; return true;
        case 'H': out.set_home = true; return true;
        case 'i': out.login = true; return true;
        case 's': out.shell = true; return true;
        case 'l': out.mode = Mode::list; return true;
        case 'v': out.mode = Mode::validate; return true;
        case 'k': case 'K': if (out.mode == Mode::run) out.mode = Mode::forget; return true;
        case 'V': out.mode = Mode::version; return true;
        case 'h': out.mode = Mode::help; return true;
        case 'n': case 'S': case 'A': case 'P': case 'p': case 'C': return true;
        default: ::dprintf(2, "sudo: option -%c is unknown or can't be had in a sandbox\n", letter); return false;
    }
}

bool take_long(const char* text, char**& argv, SudoOptions& out) {
    const char* equals = ::strchr(text, '=');
    const std::string_view name = equals == nullptr ? std::string_view{text} : std::string_view{text, static_cast<std::size_t>(equals - text)};
    for (const LongOption& option : kLong) {
        if (name != option.name) continue;
        if (option.letter == 'E' && equals != nullptr) {
            out.preserved = equals + 1;
            return true;
        }
        const char* value = equals == nullptr ? nullptr : equals + 1;
        if (kWithValue.find(option.letter) != std::string_view::npos && value == nullptr) value = *++argv;
        if (kWithValue.find(option.letter) != std::string_view::npos && value == nullptr) break;
        return take(option.letter, value, out);
    }
    ::dprintf(2, "sudo: option --%s is unknown, lacks its value or can't be had in a sandbox\n", text);
    return false;
}

bool take_cluster(const char* letters, char**& argv, SudoOptions& out) {
    for (; *letters != '\0'; ++letters) {
        if (kWithValue.find(*letters) == std::string_view::npos) {
            if (!take(*letters, nullptr, out)) return false;
            continue;
        }
        const char* value = letters[1] != '\0' ? letters + 1 : *++argv;
        if (value == nullptr) {
            ::dprintf(2, "sudo: option -%c needs a value\n", *letters);
            return false;
        }
        return take(*letters, value, out);
    }
    return true;
}

bool number(std::string_view text, std::uint32_t& out) {
    if (text.empty() || text.size() > 9) return false;
    std::uint32_t value = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') return false;
        value = value * 10 + static_cast<std::uint32_t>(c - '0');
    }
    out = value;
    return true;
}

std::string_view read_file(const char* path) {
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return {};
    std::size_t size = 0;
    for (ssize_t n = 0; size < sizeof g_file && (n = ::read(fd, g_file + size, sizeof g_file - size)) > 0;) size += static_cast<std::size_t>(n);
    ::close(fd);
    return {g_file, size};
}

std::string_view cut(std::string_view& text, char separator) {
    const std::size_t end = text.find(separator);
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    return part;
}

template <std::size_t N>
void copy(std::string_view from, char (&to)[N]) {
    const std::size_t size = from.size() < N ? from.size() : N - 1;
    ::memcpy(to, from.data(), size);
    to[size] = '\0';
}

// The first line that `wanted(name, id)` takes, of a file "name:x:id:...".
template <class Wanted>
bool find_line(const char* path, Wanted wanted, std::string_view& rest, std::string_view& name, std::uint32_t& id) {
    std::string_view text = read_file(path);
    while (!text.empty()) {
        std::string_view line = cut(text, '\n');
        name = cut(line, ':');
        (void)cut(line, ':');
        if (!number(cut(line, ':'), id) || !wanted(name, id)) continue;
        rest = line;
        return true;
    }
    return false;
}

template <class Wanted>
bool find_line_of_user(Wanted wanted, SudoUser& out) {
    std::string_view rest;
    std::string_view name;
    if (!find_line("/etc/passwd", wanted, rest, name, out.uid)) return false;
    copy(name, out.name);
    if (!number(cut(rest, ':'), out.gid)) return false;
    (void)cut(rest, ':');
    copy(cut(rest, ':'), out.home);
    const std::string_view shell = cut(rest, ':');
    copy(shell.empty() ? "/bin/sh" : shell, out.shell);
    return true;
}

}  // namespace

bool parse_sudo_options(char** argv, SudoOptions& out) {
    for (++argv; *argv != nullptr; ++argv) {
        const char* text = *argv;
        if (text[0] != '-' || text[1] == '\0') break;
        if (::strcmp(text, "--") == 0) {
            ++argv;
            break;
        }
        if (text[1] == '-' ? !take_long(text + 2, argv, out) : !take_cluster(text + 1, argv, out)) return false;
        if (*argv == nullptr) break;
    }
    out.rest = argv;
    // "sudo -k command" forgets nothing, as there is nothing, and runs the command.
    if (out.mode == SudoOptions::Mode::forget && *argv != nullptr) out.mode = SudoOptions::Mode::run;
    return true;
}

bool find_user(const char* text, SudoUser& out) {
    if (text[0] == '#') {
        std::uint32_t id = 0;
        if (!number(text + 1, id)) return false;
        if (find_user_by_id(id, out)) return true;
        out.uid = out.gid = id;
        copy(text + 1, out.name);
        copy("/", out.home);
        return true;
    }
    const std::string_view wanted{text};
    if (find_line_of_user([&](std::string_view name, std::uint32_t) { return name == wanted; }, out)) return true;
    out = SudoUser{};
    return wanted == "root";
}

bool find_user_by_id(std::uint32_t uid, SudoUser& out) {
    return find_line_of_user([&](std::string_view, std::uint32_t id) { return id == uid; }, out);
}

bool find_group(const char* text, std::uint32_t& gid) {
    if (text[0] == '#') return number(text + 1, gid);
    std::string_view rest;
    std::string_view name;
    const std::string_view wanted{text};
    return find_line("/etc/group", [&](std::string_view found, std::uint32_t) { return found == wanted; }, rest, name, gid);
}

bool keeps_variable(std::string_view name) {
    constexpr std::string_view kNames[] = {"PATH", "TERM", "COLORTERM", "COLORS", "LS_COLORS", "DISPLAY", "LANG", "LANGUAGE", "LINGUAS", "TZ", "PS1", "PS2",
                                           "XAUTHORITY", "NO_COLOR", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
                                           "GIT_SSL_CAINFO", "CURL_CA_BUNDLE", "DEBIAN_FRONTEND"};
    constexpr std::string_view kEndings[] = {"_proxy", "_PROXY", "_NUM_THREADS", "_MAX_THREADS"};
    if (name.substr(0, 3) == "LC_") return true;
    for (const std::string_view kept : kNames) {
        if (name == kept) return true;
    }
    for (const std::string_view ending : kEndings) {
        if (name.size() > ending.size() && name.substr(name.size() - ending.size()) == ending) return true;
    }
    return false;
}

bool is_listed(std::string_view name, std::string_view list) {
    while (!list.empty()) {
        if (cut(list, ',') == name) return true;
    }
    return false;
}

}  // namespace sandboxd::init
