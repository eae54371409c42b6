#include "sandboxd/ctl/exec_conversation.hpp"

#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <csignal>
#include <deque>
#include <nlohmann/json.hpp>

#include "sandboxd/ctl/api_client.hpp"
#include "sandboxd/ctl/console.hpp"
#include "sandboxd/ctl/stdin_pump.hpp"
#include "sandboxd/ctl/terminal.hpp"
#include "sandboxd/ctl/websocket.hpp"

namespace sandboxd::ctl {

namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using nlohmann::json;

constexpr auto kOpenPatience = std::chrono::seconds{30};
constexpr auto kAttachPatience = std::chrono::seconds{60};
constexpr auto kAttemptPatience = std::chrono::seconds{5};
constexpr auto kFirstPause = std::chrono::milliseconds{100};
constexpr auto kLongestPause = std::chrono::milliseconds{2000};
constexpr auto kGoodbye = std::chrono::milliseconds{500};
constexpr auto kFarewell = std::chrono::seconds{1};
constexpr std::size_t kOutboxMax =
    std::size_t{1} << 20;              // of input that waits to be sent; then it is read no further
constexpr int kPatientInterrupts = 2;  // a third Ctrl-C kills

std::string_view name_of(int signal) {
    switch (signal) {
        case SIGINT:
            return "INT";
        case SIGTERM:
            return "TERM";
        case SIGHUP:
            return "HUP";
        case SIGQUIT:
            return "QUIT";
        default:
            return "KILL";
    }
}

// The signals that we give other meanings, for as long as this lives.
class IgnoredPipeSignal {
public:
    IgnoredPipeSignal() : before_{std::signal(SIGPIPE, SIG_IGN)} {}
    IgnoredPipeSignal(const IgnoredPipeSignal&) = delete;
    IgnoredPipeSignal& operator=(const IgnoredPipeSignal&) = delete;
    ~IgnoredPipeSignal() { std::signal(SIGPIPE, before_); }

private:
    void (*before_)(int);
};

class Conversation {
public:
    Conversation(const Target& target, ConversationOptions options)
        : target_{target}, options_{std::move(options)}, frames_{handler(), options_.exec_id} {}

    Result<ConversationEnd> run();

private:
    ExecFrames::Handler handler();
    Result<void> open(Deadline deadline);
    Result<void> open_again();
    [[nodiscard]] bool over() const {
        return exit_ || failure_ || (left_with_ && (gone_ || !link_));
    }
    void read_next();
    void take(Result<Message> message);
    void take_loss(Error error);
    void started(const json& event);
    Result<void> output(Stream stream, std::string_view bytes);
    void send(Message message);
    void send(const json& message) { send(Message{false, message.dump()}); }
    void flush();
    void read_input();
    void await_signal();
    void await_resize();
    void take_signal(int signal);
    enum class Farewell { none, to_the_program };
    void leave(int code, Farewell farewell);
    void await_farewell();
    void say_goodbye();

    const Target& target_;
    ConversationOptions options_;
    IgnoredPipeSignal pipe_signal_;
    asio::io_context context_{1};
    std::optional<asio::signal_set>
        signals_;  // once there is a connection: before that they end us as they always do
    std::optional<asio::signal_set> resizes_;
    asio::steady_timer timer_{context_};
    ExecFrames frames_;
    std::optional<InputPump> input_;
    std::unique_ptr<RawTerminal> raw_;
    std::unique_ptr<WebSocketLink> link_;
    std::deque<Message> outbox_;
    std::size_t outbox_bytes_ = 0;
    bool writing_ = false;
    bool input_waits_ = false;  // for room in the outbox
    bool input_ended_ = false;
    bool open_ = false;  // the exec answers on this connection
    int interrupts_ = 0;
    std::optional<Error> refusal_;  // the last one that came as a message
    std::optional<Error> failure_;
    std::unique_ptr<json> exit_;
    std::optional<int> left_with_;
    bool gone_ = false;          // without waiting any longer
    bool last_warning_ = false;  // the program that outlives its farewell is killed
};

ExecFrames::Handler Conversation::handler() {
    ExecFrames::Handler handler;
    handler.output = [this](Stream stream, std::string_view bytes) {
        return output(stream, bytes);
    };
    handler.started = [this](const json& event) { started(event); };
    handler.notice = [this](const std::string& text) {
        if (!raw_) note(text);  // a terminal in raw mode shows the program, nothing else
    };
    handler.exited = [this](json event) { exit_ = std::make_unique<json>(std::move(event)); };
    handler.refused = [this](Error error) { refusal_ = std::move(error); };
    return handler;
}

Result<void> Conversation::open(Deadline deadline) {
    const std::string first = frames_.exec_id().empty() ? options_.start : frames_.attach_message();
    SBX_TRY(link_, WebSocketLink::open(context_, target_, sandbox_path(options_.sandbox, "exec/ws"),
                                       deadline));
    writing_ = true;
    link_->write(Message{false, first}, [this](Result<void> sent) {
        writing_ = false;
        if (!sent) return;  // the reader hears it too
        flush();
    });
    read_next();
    return Result<void>{};
}

// A daemon that is being restarted answers nothing, or 503: both are waited out.
Result<void> Conversation::open_again() {
    const Deadline deadline = Deadline::after(kAttachPatience);
    auto pause = kFirstPause;
    bool told = raw_ != nullptr;
    while (true) {
        bool waited = false;
        timer_.expires_after(pause);
        timer_.async_wait([&waited](error_code) { waited = true; });
        while (!waited) {
            if (context_.stopped()) context_.restart();
            context_.run_one();
            if (left_with_) return Result<void>{};
        }
        auto opened = open(deadline.earlier_of(Deadline::after(kAttemptPatience)));
        if (opened || !opened.error().is(Errc::unavailable) || deadline.passed()) return opened;
        if (!told && pause > std::chrono::milliseconds{400}) {
            note("the connection was lost: waiting for the daemon");
            told = true;
        }
        pause = std::min(pause * 2, kLongestPause);
    }
}

void Conversation::read_next() {
    link_->read([this](Result<Message> message) { take(std::move(message)); });
}

void Conversation::take(Result<Message> message) {
    if (!message) return take_loss(std::move(message).error());
    // A refusal that the connection outlives: of input, of a signal.
    if (refusal_ && !raw_) note(refusal_->message());
    refusal_.reset();
    auto taken =
        message->binary ? frames_.take_binary(message->data) : frames_.take_text(message->data);
    if (!taken) {
        if (!left_with_) failure_ = std::move(taken).error();
        return;
    }
    read_next();
}

void Conversation::take_loss(Error error) {
    link_.reset();
    open_ = writing_ = false;
    if (exit_ || left_with_) return;
    // A close in order says that the exec has ended, and its exit came before; without one the
    // daemon is stopping.
    if (error.is(Errc::conflict)) {
        failure_ = refusal_ ? std::move(*refusal_) : std::move(error);
    } else if (frames_.exec_id().empty() || options_.when_lost == WhenLost::fail) {
        failure_ = refusal_ ? std::move(*refusal_) : std::move(error);
    }
}

void Conversation::started(const json& event) {
    open_ = true;
    const bool pty = event.value("pty", false);
    if (pty && options_.tty == Tty::when_pty && is_terminal(STDIN_FILENO)) {
        if (!raw_) {
            auto raw = RawTerminal::enter(STDIN_FILENO);
            if (!raw) {
                failure_ = std::move(raw).error();
                return;
            }
            raw_ = *std::move(raw);
            resizes_.emplace(context_, SIGWINCH);
            await_resize();
        }
        // Also after a reconnect: the window may have changed meanwhile.
        const WindowSize size = window_size(STDIN_FILENO);
        send(json{{"type", "resize"}, {"rows", size.rows}, {"cols", size.cols}});
    }
    // Its end may have been lost with the connection; to be told twice does no harm.
    if (input_ended_) return send(json{{"type", "stdin_close"}});
    if (input_) return flush();
    if (options_.input == Input::forward) {
        input_.emplace(context_, STDIN_FILENO);
        return read_input();
    }
    if (options_.start.empty()) return;  // another client's program
    input_ended_ = true;
    send(json{{"type", "stdin_close"}});
}

Result<void> Conversation::output(Stream stream, std::string_view bytes) {
    if (left_with_) return Result<void>{};
    auto written = write_out(stream == Stream::err ? STDERR_FILENO : STDOUT_FILENO, bytes);
    if (written) return written;
    if (!written.error().is_errno(EPIPE)) return written;
    // As if the program had written to the reader that has gone.
    const bool ours = options_.signals == Signals::forward;
    if (ours) send(json{{"type", "signal"}, {"signal", "PIPE"}, {"scope", "tree"}});
    last_warning_ = ours;
    leave(128 + SIGPIPE, ours ? Farewell::to_the_program : Farewell::none);
    return Result<void>{};
}

void Conversation::send(Message message) {
    outbox_bytes_ += message.data.size();
    outbox_.push_back(std::move(message));
    flush();
}

void Conversation::flush() {
    if (!link_ || !open_ || writing_ || outbox_.empty()) return;
    writing_ = true;
    Message message = std::move(outbox_.front());
    outbox_.pop_front();
    outbox_bytes_ -= message.data.size();
    link_->write(std::move(message), [this](Result<void> sent) {
        writing_ = false;
        if (!sent) return;  // the reader hears it too
        if (input_waits_ && outbox_bytes_ < kOutboxMax) {
            input_waits_ = false;
            read_input();
        }
        flush();
    });
}

void Conversation::read_input() {
    input_->next([this](std::string piece) {
        // Without a connection the keys reach no program; but one of them has to get the user out
        // of here.
        if (raw_ && !open_ && piece.find('\x03') != std::string::npos)
            return leave(128 + SIGINT, Farewell::none);
        input_ended_ = piece.empty();
        if (input_ended_) return send(json{{"type", "stdin_close"}});
        send(Message{true, std::move(piece)});
        if (outbox_bytes_ >= kOutboxMax) {
            input_waits_ = true;
        } else {
            read_input();
        }
    });
}

void Conversation::await_signal() {
    signals_->async_wait([this](error_code ec, int signal) {
        if (ec) return;
        take_signal(signal);
        await_signal();
    });
}

void Conversation::await_resize() {
    resizes_->async_wait([this](error_code ec, int) {
        if (ec) return;
        const WindowSize size = window_size(STDIN_FILENO);
        send(json{{"type", "resize"}, {"rows", size.rows}, {"cols", size.cols}});
        await_resize();
    });
}

void Conversation::take_signal(int signal) {
    // Without an exec that answers there is nobody to pass it on to.
    if (options_.signals == Signals::leave || !open_ || left_with_)
        return leave(128 + signal, Farewell::none);
    const bool again = signal == SIGINT ? ++interrupts_ > kPatientInterrupts : false;
    if (again || signal == SIGHUP) {
        // Nobody watches any more: all of it ends.
        send(json{{"type", "signal"}, {"signal", again ? "KILL" : "HUP"}, {"scope", "tree"}});
        return leave(128 + signal, Farewell::to_the_program);
    }
    send(json{{"type", "signal"}, {"signal", name_of(signal)}, {"scope", "group"}});
}

// A farewell is heard only by a connection that stays until the program's end, or for a moment: one
// that is closed with output unread is reset, and takes what was sent last with it.
void Conversation::leave(int code, Farewell farewell) {
    if (!left_with_) left_with_ = code;
    if (farewell == Farewell::none) gone_ = true;
    await_farewell();
}

void Conversation::await_farewell() {
    timer_.expires_after(kFarewell);
    timer_.async_wait([this](error_code ec) {
        if (ec) return;
        if (!last_warning_) {
            gone_ = true;
            return;
        }
        // It ignores SIGPIPE. Its next write would fail; nobody reads it any more.
        last_warning_ = false;
        send(json{{"type", "signal"}, {"signal", "KILL"}, {"scope", "tree"}});
        await_farewell();
    });
}

// The daemon closes behind the exit event; a connection that it can close in order needs no line in
// its log.
void Conversation::say_goodbye() {
    const auto until = std::chrono::steady_clock::now() + kGoodbye;
    input_.reset();
    while (link_ && exit_ && !failure_ && std::chrono::steady_clock::now() < until) {
        if (context_.stopped()) context_.restart();
        context_.run_one_until(until);
    }
    link_.reset();
    raw_.reset();
}

Result<ConversationEnd> Conversation::run() {
    SBX_CHECK(open(Deadline::after(kOpenPatience)));
    signals_.emplace(context_, SIGINT, SIGTERM, SIGHUP);
    signals_->add(SIGQUIT);
    await_signal();
    while (!over()) {
        if (context_.stopped()) context_.restart();
        if (link_) {
            context_.run_one();
            continue;
        }
        if (left_with_) break;
        auto opened = open_again();
        if (!opened) failure_ = std::move(opened).error();
    }
    say_goodbye();
    if (failure_) return std::move(*failure_);
    ConversationEnd end;
    if (!left_with_) end.exit = std::move(exit_);
    end.left_with = left_with_.value_or(0);
    return end;
}

}  // namespace

ConversationEnd::ConversationEnd() = default;
ConversationEnd::ConversationEnd(ConversationEnd&&) noexcept = default;
ConversationEnd& ConversationEnd::operator=(ConversationEnd&&) noexcept = default;
ConversationEnd::~ConversationEnd() = default;

Result<ConversationEnd> converse(const Target& target, ConversationOptions options) {
    Conversation conversation{target, std::move(options)};
    return conversation.run();
}

}  // namespace sandboxd::ctl
