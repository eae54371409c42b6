#include "sandboxd/ctl/exec_frames.hpp"

#include <nlohmann/json.hpp>

#include "sandboxd/ctl/answer.hpp"
#include "sandboxd/ctl/api_client.hpp"
#include "sandboxd/ctl/units.hpp"

namespace sandboxd::ctl {

namespace {

using nlohmann::json;

constexpr std::size_t kHeadBytes = 9;  // one of stream, eight of offset, big-endian

Error broken(std::string what) {
    return Error{Errc::protocol_error, "the daemon's stream", std::move(what)};
}

}  // namespace

Result<void> ExecFrames::take_output(Stream stream, std::uint64_t offset, std::string_view bytes) {
    Position& position = stream == Stream::err ? err_ : out_;
    if (position.known && offset > position.next) {
        handler_.notice(format_bytes(offset - position.next) + " of output are not kept any more");
    }
    if (position.known && offset < position.next) {
        const std::uint64_t seen = position.next - offset;
        if (seen >= bytes.size()) return Result<void>{};
        bytes.remove_prefix(static_cast<std::size_t>(seen));
        offset = position.next;
    }
    // First: bytes that could not be written are not asked for again.
    position = {offset + bytes.size(), true};
    return handler_.output(stream, bytes);
}

Result<void> ExecFrames::take_binary(std::string_view bytes) {
    if (bytes.size() < kHeadBytes)
        return broken("a binary message of " + std::to_string(bytes.size()) + " bytes");
    const auto kind = static_cast<unsigned char>(bytes[0]);
    if (kind < 1 || kind > 3) return broken("an output stream of kind " + std::to_string(kind));
    std::uint64_t offset = 0;
    for (std::size_t i = 1; i < kHeadBytes; ++i)
        offset = offset << 8 | static_cast<unsigned char>(bytes[i]);
    return take_output(static_cast<Stream>(kind), offset, bytes.substr(kHeadBytes));
}

Result<void> ExecFrames::take_text(std::string_view text) {
    json event = json::parse(text, nullptr, false);
    if (!event.is_object()) return broken("a message that is no JSON object");
    const std::string type = text_of(event, "type");
    if (type == "started") {
        exec_id_ = text_of(event, "exec_id");
        handler_.started(event);
    } else if (type == "truncated") {
        if (const auto lost = dropped_output(event)) handler_.notice(*lost);
    } else if (type == "exit") {
        handler_.exited(std::move(event));
    } else if (type == "error") {
        handler_.refused(error_of_answer(500, text));
    }
    return Result<void>{};  // meter, and what newer daemons say besides
}

std::string ExecFrames::attach_message() const {
    json message = {{"type", "attach"}, {"exec_id", exec_id_}, {"encoding", "binary"}};
    if (out_.known) message["stdout_offset"] = out_.next;
    if (err_.known) message["stderr_offset"] = err_.next;
    return message.dump();
}

}  // namespace sandboxd::ctl
