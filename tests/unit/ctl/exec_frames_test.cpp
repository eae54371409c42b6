#include "sandboxd/ctl/exec_frames.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace sandboxd;
using namespace sandboxd::ctl;
using nlohmann::json;

namespace {

std::string frame(char stream, std::uint64_t offset, const std::string& bytes) {
    std::string out{stream};
    for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(offset >> shift & 255U);
    return out + bytes;
}

struct Seen {
    std::string out, err;
    std::vector<std::string> notices;
    std::vector<Error> refusals;
    std::optional<json> exit;
    int starts = 0;
    std::optional<Error> output_fails;

    ExecFrames::Handler handler() {
        ExecFrames::Handler handler;
        handler.output = [this](Stream stream, std::string_view bytes) -> Result<void> {
            if (output_fails) return *output_fails;
            (stream == Stream::err ? err : out) += bytes;
            return {};
        };
        handler.started = [this](const json&) { ++starts; };
        handler.notice = [this](std::string text) { notices.push_back(std::move(text)); };
        handler.exited = [this](json event) { exit = std::move(event); };
        handler.refused = [this](Error error) { refusals.push_back(std::move(error)); };
        return handler;
    }
};

}  // namespace

TEST_CASE("output is taken apart by stream, and remembered by offset") {
    Seen seen;
    ExecFrames frames{seen.handler()};
    CHECK(frames.exec_id().empty());
    REQUIRE(frames.take_text(R"({"type":"started","exec_id":"abc"})"));
    REQUIRE(frames.take_binary(frame(1, 0, "hello")));
    REQUIRE(frames.take_binary(frame(2, 0, "oops")));
    REQUIRE(frames.take_binary(frame(1, 5, " world")));
    CHECK(seen.out == "hello world");
    CHECK(seen.err == "oops");
    CHECK(seen.starts == 1);
    CHECK(json::parse(frames.attach_message()) == json{{"type", "attach"},
                                                       {"exec_id", "abc"},
                                                       {"encoding", "binary"},
                                                       {"stdout_offset", 11},
                                                       {"stderr_offset", 4}});
}

TEST_CASE("a stream that was not seen yet is asked for from its oldest byte") {
    Seen seen;
    ExecFrames frames{seen.handler(), "abc"};
    REQUIRE(frames.take_binary(frame(3, 1ULL << 40, "x")));
    CHECK(json::parse(frames.attach_message()) == json{{"type", "attach"},
                                                       {"exec_id", "abc"},
                                                       {"encoding", "binary"},
                                                       {"stdout_offset", (1ULL << 40) + 1}});
}

TEST_CASE("bytes that come twice are shown once, and a gap is told") {
    Seen seen;
    ExecFrames frames{seen.handler()};
    REQUIRE(frames.take_binary(frame(1, 0, "abcdef")));
    REQUIRE(frames.take_binary(frame(1, 2, "cdefgh")));
    REQUIRE(frames.take_binary(frame(1, 0, "abc")));
    CHECK(seen.out == "abcdefgh");
    CHECK(seen.notices.empty());
    REQUIRE(frames.take_binary(frame(1, 108, "z")));
    CHECK(seen.out == "abcdefghz");
    CHECK(seen.notices == std::vector<std::string>{"100 B of output are not kept any more"});
}

TEST_CASE("output that could not be written is an error, but is not asked for again") {
    Seen seen;
    ExecFrames frames{seen.handler(), "abc"};
    seen.output_fails = Error{Errc::disk_full, "write"};
    auto taken = frames.take_binary(frame(1, 0, "abc"));
    REQUIRE_FALSE(taken);
    CHECK(taken.error().is(Errc::disk_full));
    CHECK(json::parse(frames.attach_message())["stdout_offset"] == 3);
}

TEST_CASE("the end, refusals and what is not known") {
    Seen seen;
    ExecFrames frames{seen.handler()};
    REQUIRE(frames.take_text(R"({"type":"meter","usage":{}})"));
    REQUIRE(frames.take_text(R"({"type":"of a newer daemon"})"));
    REQUIRE(frames.take_text(R"({"type":"truncated","stream":"stdout","dropped":2048})"));
    CHECK(seen.notices ==
          std::vector<std::string>{"2.0 KiB of stdout were dropped: the output limit was reached"});
    REQUIRE(frames.take_text(
        R"({"type":"error","error":{"code":"command_not_found","message":"no such"}})"));
    REQUIRE(seen.refusals.size() == 1);
    CHECK(seen.refusals[0].is(Errc::command_not_found));
    CHECK_FALSE(seen.exit);
    REQUIRE(frames.take_text(R"({"type":"exit","exit_code":3})"));
    CHECK((*seen.exit)["exit_code"] == 3);
}

TEST_CASE("what no daemon sends is refused") {
    Seen seen;
    ExecFrames frames{seen.handler()};
    for (const std::string& bytes :
         {std::string{}, std::string(8, '\1'), frame(0, 0, "x"), frame(4, 0, "x")}) {
        auto taken = frames.take_binary(bytes);
        REQUIRE_FALSE(taken);
        CHECK(taken.error().is(Errc::protocol_error));
    }
    CHECK_FALSE(frames.take_text("no json"));
    CHECK_FALSE(frames.take_text("[1]"));
    CHECK(seen.out.empty());
}
