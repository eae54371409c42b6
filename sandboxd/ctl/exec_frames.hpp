#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "sandboxd/core/result.hpp"

namespace sandboxd::ctl {

enum class Stream : std::uint8_t { out = 1, err = 2, pty = 3 };

// The protocol of the exec WebSocket as the client sees it, over as many connections as it takes.
// Does no I/O.
class ExecFrames {
public:
    struct Handler {
        std::function<Result<void>(Stream, std::string_view)> output;
        std::function<void(const nlohmann::json&)> started;
        std::function<void(std::string)> notice;  // for people: output was dropped
        std::function<void(nlohmann::json)> exited;
        std::function<void(Error)> refused;  // of a message that was sent; ends the exec's
                                             // connection only when that is closed
    };
    // `exec_id` is empty until the program is started.
    explicit ExecFrames(Handler handler, std::string exec_id = {})
        : handler_{std::move(handler)}, exec_id_{std::move(exec_id)} {}

    // protocol_error for what no daemon sends; what the output handler returned.
    [[nodiscard]] Result<void> take_text(std::string_view text);
    [[nodiscard]] Result<void> take_binary(std::string_view bytes);

    [[nodiscard]] const std::string& exec_id() const noexcept { return exec_id_; }
    // The message that goes on where the last connection ended, at the first byte that was not
    // seen.
    [[nodiscard]] std::string attach_message() const;

private:
    Result<void> take_output(Stream stream, std::uint64_t offset, std::string_view bytes);

    struct Position {
        std::uint64_t next = 0;
        bool known =
            false;  // has seen a byte: before that, the oldest one that is kept is asked for
    };
    Handler handler_;
    std::string exec_id_;
    Position out_;  // of the terminal too
    Position err_;
};

}  // namespace sandboxd::ctl
