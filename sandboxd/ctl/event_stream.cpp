#include "sandboxd/ctl/event_stream.hpp"

#include <unistd.h>
#include <nlohmann/json.hpp>
#include <optional>

#include "sandboxd/ctl/answer.hpp"
#include "sandboxd/ctl/base64.hpp"
#include "sandboxd/ctl/console.hpp"

namespace sandboxd::ctl {

namespace {

using nlohmann::json;

constexpr auto kStartPatience =
    std::chrono::seconds{90};  // the daemon gives up on a sandbox before that

class Player {
public:
    Player(Show show, Cost cost) : show_{show}, cost_{cost} {}

    Result<void> play(std::string_view line) {
        if (line.empty()) return Result<void>{};
        if (show_ == Show::events) print(std::string{line} + '\n');
        const json event = json::parse(line, nullptr, false);
        const std::string type = text_of(event, "type");
        if (type == "error") return error_of_answer(500, line);
        if (type == "exit") exit_code_ = exit_code_of(event);
        return show_ == Show::output ? show(event, type) : Result<void>{};
    }
    [[nodiscard]] std::optional<int> exit_code() const noexcept { return exit_code_; }

private:
    Result<void> show(const json& event, const std::string& type) {
        if (type == "stdout" || type == "stderr" || type == "pty") {
            SBX_TRY(const std::string bytes, from_base64(text_of(event, "data")));
            if (type == "stderr") return write_out(STDERR_FILENO, bytes);
            print(bytes);
        } else if (type == "truncated") {
            if (const auto lost = dropped_output(event)) note(*lost);
        } else if (type == "exit") {
            report_end(event, cost_);
        }
        return Result<void>{};
    }

    Show show_;
    Cost cost_;
    std::optional<int> exit_code_;
};

}  // namespace

Result<int> play_events(ApiClient& api, Request request, Show show, Cost cost) {
    request.headers.emplace_back("Accept", "application/x-ndjson");
    request.head_patience = kStartPatience;
    Player player{show, cost};
    LineSplitter lines;
    const auto play = [&](std::string_view line) { return player.play(line); };
    SBX_CHECK(api.stream(request, [&](std::string_view bytes) { return lines.feed(bytes, play); }));
    SBX_CHECK(player.play(lines.rest()));
    if (!player.exit_code())
        return Error{Errc::unavailable, "the stream ended before the program did",
                     "is the daemon being stopped?"};
    return *player.exit_code();
}

void report_end(const json& answer, Cost cost) {
    if (const auto why = ended_by(answer)) note(*why);
    if (cost == Cost::show && answer.contains("usage"))
        note("cost " + describe_usage(answer["usage"]));
}

}  // namespace sandboxd::ctl
