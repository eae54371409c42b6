// sandbox-sudo: `sudo` in a sandbox. Nothing in there is setuid, so it asks PID 1, which runs the command as the sandbox's
// root (or another of its users) if the policy allows that, with this process's stdin, stdout and stderr. No rights of its
// own: what it sends anybody in the jail could send.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "isolation/init/kernel.hpp"
#include "isolation/init/sudo_options.hpp"
#include "isolation/init/sudo_protocol.hpp"
#include "isolation/init/sudo_terminal.hpp"

extern char** environ;

namespace {

using namespace sandboxd;
using namespace sandboxd::init;

constexpr int kForwarded[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT};

Text<96 * 1024> g_argv;
Text<112 * 1024> g_env;
Text<8192> g_command;
std::byte g_message[kMaxSudoMessage];

[[noreturn]] void die(const char* what, const char* why) {
    ::dprintf(2, "sudo: %s%s%s\n", what, *why == '\0' ? "" : ": ", why);
    ::_exit(1);
}

void add_string(std::string_view text) { g_argv.add(text).add(std::string_view{"\0", 1}); }

void set_variable(std::string_view name, std::string_view value) { g_env.add(name).add("=").add(value).add(std::string_view{"\0", 1}); }

bool is_assignment(const char* text) {
    const char* equals = ::strchr(text, '=');
    return equals != nullptr && equals != text && ::strcspn(text, "/ ") > static_cast<std::size_t>(equals - text);
}

// As sudo does: one string for the shell, with every character quoted that could mean something to it.
void add_quoted(char** words) {
    for (bool first = true; *words != nullptr; ++words, first = false) {
        if (!first) g_command.add(" ");
        for (const char* c = *words; *c != '\0'; ++c) {
            const bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '_' || *c == '-' || *c == '$';
            if (!plain) g_command.add("\\");
            g_command.add(std::string_view{c, 1});
        }
    }
}

class Command {
public:
    Command(const SudoOptions& options, char** words) : options_{options}, words_{words} {
        if (!find_user(options.user, target_)) die("unknown user", options.user);
        if (options.group != nullptr && !find_group(options.group, target_.gid)) die("unknown group", options.group);
        caller_.uid = ::getuid();
        if (!find_user_by_id(caller_.uid, caller_)) ::snprintf(caller_.name, sizeof caller_.name, "%u", caller_.uid);
    }

    void build(SudoRequest& request) {
        while (*words_ != nullptr && is_assignment(*words_)) ++words_;
        build_argv();
        build_env();
        if (options_.login && options_.folder == nullptr) {
            cwd_.add(target_.home);
        } else {
            char here[4096];
            if (::getcwd(here, sizeof here) == nullptr || here[0] != '/') die("the working folder", ::strerror(ENOENT));
            if (options_.folder == nullptr || options_.folder[0] != '/') cwd_.add(here);
            if (options_.folder != nullptr) cwd_.add(cwd_.size() == 0 ? "" : "/").add(options_.folder);
        }
        if (!g_argv.ok() || !g_env.ok() || !g_command.ok() || !cwd_.ok()) die("the command and its environment", ::strerror(E2BIG));
        request.uid = target_.uid;
        request.gid = target_.gid;
        request.cwd = cwd_.view();
        request.argv = g_argv.view();
        request.env = g_env.view();
    }
    [[nodiscard]] const char* program() const { return *words_ == nullptr ? target_.shell : *words_; }
    [[nodiscard]] const SudoUser& caller() const { return caller_; }

private:
    [[nodiscard]] const char* shell() const {
        const char* own = ::getenv("SHELL");
        return options_.login || own == nullptr || own[0] != '/' ? target_.shell : own;
    }

    void build_argv() {
        if (!options_.login && !options_.shell) {
            for (char** word = words_; *word != nullptr; ++word) add_string(*word);
            return;
        }
        add_string(shell());
        if (options_.login) add_string("-l");
        if (*words_ == nullptr) return;
        add_quoted(words_);
        add_string("-c");
        add_string(g_command.view());
    }

    // What is set below; PATH stays the caller's own. The secure_path of a real sudo guards root against a user, and here
    // that user may be root anyway.
    [[nodiscard]] bool is_ours(std::string_view name) const {
        constexpr std::string_view kOurs[] = {"USER", "LOGNAME", "SHELL", "MAIL", "SUDO_COMMAND", "SUDO_USER", "SUDO_UID", "SUDO_GID"};
        for (const std::string_view ours : kOurs) {
            if (name == ours) return true;
        }
        if (name == "HOME") return !options_.preserve_all || options_.set_home || options_.login;
        for (char** word = options_.rest; *word != nullptr && is_assignment(*word); ++word) {
            const std::string_view assigned{*word};
            if (assigned.substr(0, assigned.find('=')) == name) return true;
        }
        return false;
    }

    void build_env() {
        bool path = false;
        for (char** variable = environ; *variable != nullptr; ++variable) {
            const std::string_view text{*variable};
            const std::size_t equals = text.find('=');
            const std::string_view name = text.substr(0, equals);
            if (equals == std::string_view::npos || is_ours(name)) continue;
            const bool asked = options_.preserve_all || (options_.preserved != nullptr && is_listed(name, options_.preserved));
            if (!asked && !keeps_variable(name)) continue;
            path = path || name == "PATH";
            set_variable(name, text.substr(equals + 1));
        }
        if (!path) set_variable("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        if (is_ours("HOME")) set_variable("HOME", target_.home);
        set_variable("USER", target_.name);
        set_variable("LOGNAME", target_.name);
        set_variable("SHELL", shell());
        set_variable("SUDO_USER", caller_.name);
        Text<16> uid;
        Text<16> gid;
        set_variable("SUDO_UID", uid.add(std::uint64_t{caller_.uid}).view());
        set_variable("SUDO_GID", gid.add(std::uint64_t{::getgid()}).view());
        set_variable("SUDO_COMMAND", program());
        for (char** word = options_.rest; *word != nullptr && is_assignment(*word); ++word) g_env.add(*word).add(std::string_view{"\0", 1});
    }

    const SudoOptions& options_;
    char** words_;
    SudoUser target_;
    SudoUser caller_;
    Text<4096> cwd_;
};

int connect_to_init() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    ::memcpy(address.sun_path, kSudoSocket, sizeof kSudoSocket);
    const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket", ::strerror(errno));
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
    if (errno == ENOENT || errno == ECONNREFUSED) die("this sandbox does not allow the user root (allow_root)", "");
    die("asking the sandbox's init", ::strerror(errno));
}

void send_request(int connection, const SudoRequest& request, const int (&stdio)[3]) {
    wire::Writer writer{g_message, sizeof g_message};
    if (!writer(request)) die("the command and its environment", ::strerror(E2BIG));
    if (!send_with_fds(connection, g_message, writer.size(), stdio, 3, 0)) die("asking the sandbox's init", ::strerror(errno));
}

// False: hung up.
bool receive_reply(int connection, SudoReply& reply) {
    std::byte buffer[64];
    const Incoming in = receive_with_fds(connection, buffer, sizeof buffer, 0);
    wire::Reader reader{buffer, static_cast<std::size_t>(in.size > 0 ? in.size : 0)};
    return in.size > 0 && reader(reply) && reader.done();
}

int watch_signals() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int number : kForwarded) ::sigaddset(&set, number);
    ::sigaddset(&set, SIGWINCH);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    return ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void forward_signals(int signals, int connection, SudoTerminal& terminal) {
    signalfd_siginfo info;
    while (::read(signals, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
        if (info.ssi_signo == SIGWINCH) {
            if (terminal.is_open()) terminal.resize();
            continue;
        }
        SudoSignal message;
        message.signal = static_cast<std::int32_t>(info.ssi_signo);
        std::byte buffer[8];
        wire::Writer writer{buffer, sizeof buffer};
        if (writer(message)) (void)send_with_fds(connection, buffer, writer.size(), nullptr, 0, MSG_DONTWAIT);
    }
}

[[noreturn]] void end(const SudoReply& reply, SudoTerminal& terminal) {
    terminal.end();
    if (reply.answer != SudoAnswer::signaled) ::_exit(reply.status);
    // As if the command had been run without us.
    ::signal(reply.status, SIG_DFL);
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, reply.status);
    ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
    ::raise(reply.status);
    ::_exit(128 + reply.status);
}

[[noreturn]] void follow(int connection, int signals, SudoTerminal& terminal) {
    for (;;) {
        const bool pty = terminal.is_open();
        const short events = static_cast<short>(POLLIN | (pty && terminal.wants_write() ? POLLOUT : 0));
        pollfd waits[] = {{connection, POLLIN, 0}, {signals, POLLIN, 0}, {pty ? terminal.input() : -1, POLLIN, 0}, {pty ? terminal.master() : -1, events, 0}};
        if (::poll(waits, 4, -1) < 0) continue;
        if (waits[1].revents != 0) forward_signals(signals, connection, terminal);
        if (waits[2].revents != 0) terminal.from_caller();
        if ((waits[3].revents & POLLOUT) != 0) terminal.flush();
        if ((waits[3].revents & (POLLIN | POLLHUP | POLLERR)) != 0) (void)terminal.to_caller();
        if (waits[0].revents == 0) continue;
        SudoReply reply;
        if (!receive_reply(connection, reply)) {
            terminal.end();
            die("the sandbox's init has hung up", "");
        }
        end(reply, terminal);
    }
}

void explain(const SudoReply& reply, const char* program) {
    if (reply.answer == SudoAnswer::refused) die("this sandbox does not allow that to this user", "");
    if (reply.exec && (reply.error == ENOENT || reply.error == ENOTDIR)) die(program, "command not found");
    if (reply.answer == SudoAnswer::failed) die(program, ::strerror(reply.error));
}

// -l and -v: whether it would be allowed, by the one who decides.
int ask(const SudoOptions& options) {
    SudoRequest request;
    request.only_ask = true;
    request.argv = std::string_view{"true\0", 5};
    const int stdio[3] = {0, 1, 2};
    const int connection = connect_to_init();
    send_request(connection, request, stdio);
    SudoReply reply;
    if (!receive_reply(connection, reply)) die("the sandbox's init has hung up", "");
    explain(reply, "sudo");
    if (options.mode == SudoOptions::Mode::list) {
        SudoUser caller;
        if (!find_user_by_id(::getuid(), caller)) ::snprintf(caller.name, sizeof caller.name, "%u", ::getuid());
        ::dprintf(1, "User %s may run the following commands in this sandbox:\n    (ALL : ALL) NOPASSWD: ALL\n", caller.name);
    }
    return 0;
}

int usage(int fd) {
    ::dprintf(fd, "usage: sudo [-EHins] [-u user] [-g group] [-D folder] [--preserve-env=list] [VAR=value] [command [arg ...]]\n"
                  "       sudo -l | -v | -k | -V\n"
                  "Runs a command as the sandbox's root (or as -u says), without a password.\n");
    return fd == 1 ? 0 : 1;
}

// stdin, stdout and stderr may be closed; what goes to the command are three descriptors.
void fill_stdio() {
    for (int fd = 0; fd < 3; ++fd) {
        if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", O_RDWR) != fd) die("/dev/null", ::strerror(errno));
    }
}

}  // namespace

int main(int, char** argv) {
    using Mode = SudoOptions::Mode;
    fill_stdio();
    SudoOptions options;
    if (!parse_sudo_options(argv, options)) return usage(2);
    switch (options.mode) {
        case Mode::version: ::dprintf(1, "sudo of sandboxd %s\n", SANDBOXD_VERSION); return 0;
        case Mode::help: return usage(1);
        case Mode::forget: return 0;
        case Mode::list: case Mode::validate: return ask(options);
        case Mode::run: break;
    }
    char** words = options.rest;
    while (*words != nullptr && is_assignment(*words)) ++words;
    if (*words == nullptr && !options.login && !options.shell) return usage(2);

    static SudoTerminal terminal;
    Command command{options, words};
    SudoRequest request;
    command.build(request);
    const int connection = connect_to_init();
    const int signals = watch_signals();
    int stdio[3] = {0, 1, 2};
    if (terminal.open(stdio)) request.terminal = static_cast<std::uint8_t>(terminal.first());
    send_request(connection, request, stdio);
    SudoReply reply;
    if (!receive_reply(connection, reply)) die("the sandbox's init has hung up", "");
    explain(reply, command.program());
    if (terminal.is_open()) terminal.begin();
    follow(connection, signals, terminal);
}
